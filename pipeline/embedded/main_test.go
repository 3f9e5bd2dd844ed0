package embedded_test

import (
	"os"
	"testing"

	"carom.dev/carom/pipeline/embedded/embeddedtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(parentVariable) != "" {
		runParent()
		return
	}
	os.Exit(embeddedtest.Main(m))
}
