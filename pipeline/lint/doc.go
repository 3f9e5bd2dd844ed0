// Package lint holds tests over the source tree itself: which package may import which, and a few things that must not
// be written anywhere. It has no code of its own. The rules are in rules_test.go; a change of the architecture changes
// them in the same commit.
package lint
