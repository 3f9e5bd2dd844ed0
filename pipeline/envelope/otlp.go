package envelope

// The export of OpenTelemetry as JSON, as the Collector's exporter to Kafka writes it with the encoding otlp_json: a
// document of resources, each with scopes, each with records. Source: opentelemetry-proto, opentelemetry/proto/logs/v1
// and common/v1, in the JSON mapping of the protocol (OTLP, section "JSON Protobuf Encoding").

// export emits the lines of the array of resources at s.b[at:], which has been scanned once. The scanner stays where it is.
func (r *Reader) export(s *scanner, at int, carrier Line, level int) {
	behind := s.i
	s.i = at
	s.elements(func() {
		if from := s.i; !r.resource(s, carrier, level) {
			r.strange(s, from, carrier, level)
		}
	})
	s.i = behind
}

// strange reports the part of an export at s.b[from:s.i] that is not built as it should be, or hands it on whole.
func (r *Reader) strange(s *scanner, from int, carrier Line, level int) {
	if s.reason == ReasonNone {
		r.envelope(s, from, &fields{shipper: true}, carrier, level)
	}
}

// resource reads one element of resourceLogs. Members may come in any order, and what the resource says holds for all of
// its records. It reports whether the element had what it takes.
func (r *Reader) resource(s *scanner, carrier Line, level int) bool {
	var of fields
	scopes := 0
	whole := s.members(func(key []byte) {
		switch {
		case string(key) == "resource":
			s.members(func(key []byte) {
				if string(key) != "attributes" {
					s.skip()
					return
				}
				s.attributes(&of)
			})
		case string(key) == "scopeLogs" && scopes == 0:
			scopes = s.i
			s.skip()
		default:
			s.skip()
		}
	})
	if !whole || scopes == 0 {
		return false
	}
	behind := s.i
	s.i = scopes
	whole = s.elements(func() {
		from, records := s.i, false
		s.members(func(key []byte) {
			if records || string(key) != "logRecords" {
				s.skip()
				return
			}
			records = s.elements(func() {
				mark := len(s.buf)
				r.record(s, of, carrier, level)
				s.buf = s.buf[:mark]
			})
		})
		if !records {
			r.strange(s, from, carrier, level)
		}
	})
	s.i = behind
	return whole
}

// record reads one log record and emits its lines. of are the fields of its resource.
func (r *Reader) record(s *scanner, of fields, carrier Line, level int) {
	from := s.i
	var f fields
	s.members(func(key []byte) {
		switch string(key) {
		case "body":
			s.members(func(key []byte) { s.any(key, &f, where{slot: slotMessage}) })
		case "attributes":
			s.attributes(&f)
		case "timeUnixNano":
			s.stamp(&f, where{slot: slotReported, rank: 3})
		case "observedTimeUnixNano":
			s.stamp(&f, where{slot: slotReceived})
		default:
			s.skip()
		}
	})
	if s.reason != ReasonNone {
		return
	}
	for k := range f.at {
		if f.rank[k] == 0 || of.rank[k] != 0 && of.rank[k] < f.rank[k] {
			f.at[k], f.rank[k] = of.at[k], of.rank[k]
		}
	}
	f.shipper = true
	r.envelope(s, from, &f, carrier, level)
}

// attributes reads an array of objects with a key and a value.
func (s *scanner) attributes(f *fields) {
	s.elements(func() {
		name, value := []byte(nil), 0
		s.members(func(key []byte) {
			switch {
			case string(key) == "key" && s.i < len(s.b) && s.b[s.i] == '"':
				name, _ = s.text()
			case string(key) == "value":
				value = s.i
				s.skip()
			default:
				s.skip()
			}
		})
		if value == 0 || len(name) > len(s.path) || s.reason != ReasonNone {
			return
		}
		w := find(lower(s.path[:0], name))
		if w.slot == slotNone && !w.marks {
			return
		}
		behind := s.i
		s.i = value
		s.members(func(key []byte) { s.any(key, f, w) })
		s.i = behind
	})
}

// any reads the member named kind of an AnyValue. A list of keys and values, which is what a journal's entry or a parsed
// document becomes, is read by its keys.
func (s *scanner) any(kind []byte, f *fields, w where) {
	switch string(kind) {
	case "stringValue":
		if s.i < len(s.b) && s.b[s.i] == '"' {
			if text, ok := s.text(); ok && f.wants(w) {
				f.set(w, text)
			}
			return
		}
	case "bytesValue":
		if s.i < len(s.b) && s.b[s.i] == '"' {
			if text, ok := s.text(); ok && f.wants(w) {
				if text, ok = s.base64(text); ok {
					f.set(w, text)
				}
			}
			return
		}
	case "intValue":
		s.stamp(f, w)
		return
	case "kvlistValue":
		if w.slot == slotMessage {
			s.members(func(key []byte) {
				if string(key) != "values" {
					s.skip()
					return
				}
				s.attributes(f)
			})
			return
		}
	}
	s.skip()
}

// stamp reads an integer, which the mapping writes as a string (or as a number).
func (s *scanner) stamp(f *fields, w where) {
	if s.i >= len(s.b) {
		s.fail(ReasonSyntax)
		return
	}
	digits := []byte(nil)
	switch c := s.b[s.i]; {
	case c == '"':
		digits, _, _ = s.span()
	case c == '-' || c-'0' <= 9:
		digits = s.number()
	default:
		s.skip()
		return
	}
	if w.slot != slotMessage && f.wants(w) {
		f.set(w, digits)
	}
}

// elements reads an array, calling each at every element. Anything else it skips, and says so. What it reads has been
// scanned before, so it comes to its end.
func (s *scanner) elements(each func()) bool {
	if s.i >= len(s.b) || s.b[s.i] != '[' {
		s.skip()
		return false
	}
	s.i++
	for first := true; ; first = false {
		s.space()
		if s.more(']', first) || s.reason != ReasonNone {
			return true
		}
		s.space()
		if each(); s.reason != ReasonNone {
			return true
		}
	}
}

// members reads an object, calling each with the scanner at every member's value. Anything else it skips, and says so.
func (s *scanner) members(each func(key []byte)) bool {
	if s.i >= len(s.b) || s.b[s.i] != '{' {
		s.skip()
		return false
	}
	s.i++
	for first := true; ; first = false {
		s.space()
		if s.more('}', first) || s.reason != ReasonNone {
			return true
		}
		s.space()
		key, _, ok := s.span()
		if !ok {
			return true
		}
		s.space()
		if !s.expect(':') {
			return true
		}
		s.space()
		if each(key); s.reason != ReasonNone {
			return true
		}
	}
}

// skip passes over a value.
func (s *scanner) skip() {
	var none fields
	s.value(&none, 1, noPath)
}

func lower(b, name []byte) []byte {
	for _, c := range name {
		if c-'A' <= 'Z'-'A' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}
