package site

import "slices"

// Names returns the names of header fields or of record fields that rules ask for, in lower case, in order and each once;
// nothing for the other kinds. Whoever reads a record need not look for anything else.
func (s *Site) Names(k FactKind) []string {
	if s == nil || k >= numFactKinds {
		return nil
	}
	var out []string
	for i := range s.rules[k] {
		if name := s.rules[k][i].name; name != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
