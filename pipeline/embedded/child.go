package embedded

import (
	"fmt"
	"os"
	"runtime"

	"github.com/ebitengine/purego"
)

// childWord as the first argument makes this binary the ClickHouse server. The library's path and the arguments of
// clickhouse follow.
const childWord = "carom-embedded-clickhouse"

// MaybeRunChild becomes the ClickHouse server, and does not return, when this process was started by StartClickHouse;
// otherwise it does nothing. It has to be the first call of main and of TestMain, before flags are parsed: the library
// installs signal handlers and must have a process of its own.
func MaybeRunChild() {
	if len(os.Args) < 3 || os.Args[1] != childWord {
		return
	}
	if err := runChild(os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runChild loads libchdb and runs its `clickhouse` program until standard input ends. The result that it returns tells
// nothing: it is the same after a failed start, whose reason stands on standard error. The parent therefore judges by
// whether it asked for the end.
func runChild(libPath string, args []string) error {
	runtime.LockOSThread()
	lib, err := purego.Dlopen(libPath, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return fmt.Errorf("load %s: %w", libPath, err)
	}
	symbol, err := purego.Dlsym(lib, "chdb_query_cmdline")
	if err != nil {
		return fmt.Errorf("load %s: %w", libPath, err)
	}
	var run func(argc int32, argv **byte) uintptr
	purego.RegisterFunc(&run, symbol)

	argv := make([]*byte, 0, len(args)+2)
	for _, a := range append([]string{"clickhouse"}, args...) {
		b := append([]byte(a), 0)
		argv = append(argv, &b[0])
	}
	argc := int32(len(argv))
	argv = append(argv, nil)
	run(argc, &argv[0])
	runtime.KeepAlive(argv)
	return nil
}
