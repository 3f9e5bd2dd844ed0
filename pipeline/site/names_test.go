package site

import (
	"slices"
	"testing"
)

// Names tells exactly what rules ask for by name, so that a reader who looks for nothing else misses no label.
func TestNames(t *testing.T) {
	s, err := Parse([]byte(`
revision: 1
labels:
  tenant:
    - {from: field, name: meta.Tenant}
    - {from: header, name: X-Tenant}
    - {from: job}
  stream:
    - {from: field, name: meta.tenant}
    - {from: field, name: column}
`))
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[FactKind][]string{
		FactField: {"column", "meta.tenant"}, FactHeader: {"x-tenant"}, FactJob: nil, FactUser: nil,
	} {
		if got := s.Names(kind); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
	if got := (*Site)(nil).Names(FactField); got != nil {
		t.Errorf("of no site: %q", got)
	}
}
