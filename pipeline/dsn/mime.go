package dsn

import "bytes"

// part is a leaf of the MIME tree. The bytes are the mail's, still encoded.
type part struct {
	header
	mediaType string // lower case, "text/plain" where the part has none; RFC 2045, section 5.2
	charset   string
	name      string // of the file, where the type gives one
	encoding  []byte
	body      []byte
}

// walker flattens a MIME tree. RFC 2046.
type walker struct {
	lim   *Limits
	parts []part
	cut   []*LimitError
	seen  int // parts, multiparts included
}

func (w *walker) note(what string, limit int) {
	for _, e := range w.cut {
		if e.What == what {
			return
		}
	}
	w.cut = append(w.cut, &LimitError{what, limit})
}

func (w *walker) walk(h header, body []byte, depth int) {
	if w.seen++; w.seen > w.lim.Parts {
		w.note(LimitParts, w.lim.Parts)
		return
	}
	mediaType, param := "text/plain", func(string) string { return "" }
	if value := h.raw("Content-Type"); len(value) > 0 {
		mediaType, param = parameters(unfold(value))
	}
	if len(mediaType) > 10 && mediaType[:10] == "multipart/" {
		if depth >= w.lim.Depth {
			w.note(LimitDepth, w.lim.Depth)
			return
		}
		boundary := param("boundary")
		if boundary != "" && w.multipart(body, boundary, depth) {
			return
		}
		// QUIRK: RFC 2045, section 6.4 forbids to encode a multipart as a whole.
		if encoding := h.raw("Content-Transfer-Encoding"); boundary != "" && len(encoding) > 0 {
			if decoded := unixLines(decodeBody(body, encoding), len(body)); w.multipart(decoded, boundary, depth) {
				return
			}
		}
		// QUIRK: no boundary, or none that occurs: one that looks like it, or else the body as it stands
		if boundary = guessBoundary(body); boundary != "" && w.multipart(body, boundary, depth) {
			return
		}
		mediaType = "text/plain"
	}
	w.parts = append(w.parts, part{
		header: h, mediaType: mediaType, charset: param("charset"), name: param("name"), encoding: h.raw("Content-Transfer-Encoding"), body: body,
	})
}

// multipart walks the parts between the delimiter lines; false if there is none. RFC 2046, section 5.1.1. A part that is not
// closed ends with its parent.
func (w *walker) multipart(body []byte, boundary string, depth int) bool {
	delimiter := append([]byte("--"), boundary...)
	start, found := -1, false // start of the current part
	for at := 0; at < len(body) && w.seen <= w.lim.Parts; {
		i := bytes.Index(body[at:], delimiter)
		if i < 0 {
			break
		}
		i += at
		at = i + len(delimiter)
		if i > 0 && body[i-1] != '\n' {
			continue
		}
		line, next := cutLine(body[at:])
		tail := bytes.TrimRight(line, " \t")
		closing := bytes.Equal(tail, []byte("--"))
		if len(tail) > 0 && !closing {
			continue // another boundary, of which this one is the beginning
		}
		switch {
		case start >= 0:
			w.child(body[start:i], depth)
		case !found:
			w.preamble(body[:i])
		}
		found = true
		if closing || next == nil {
			return true
		}
		start = len(body) - len(next)
		at = start
	}
	if start >= 0 {
		w.child(body[start:], depth)
	}
	return found
}

// guessBoundary returns the boundary of the first line that begins with two hyphens and has a Content field below it, or "".
func guessBoundary(body []byte) string {
	for b := body[:min(len(body), 64<<10)]; len(b) > 0; {
		line, next := cutLine(b)
		if len(line) > 2 && len(line) < 80 && line[0] == '-' && line[1] == '-' && len(next) > 8 && equalFold(next[:8], "Content-") {
			return string(bytes.TrimRight(line[2:], " \t"))
		}
		b = next
	}
	return ""
}

// preamble keeps a text in front of the first delimiter if it may be the report.
//
// QUIRK: some servers write the words of the report there, behind a delimiter of another name.
func (w *walker) preamble(b []byte) {
	if bytes.IndexByte(b, '@') >= 0 {
		w.parts = append(w.parts, part{mediaType: "text/plain", body: b})
	}
}

func (w *walker) child(b []byte, depth int) {
	b = bytes.TrimSuffix(b, []byte("\n"))
	h, rest, err := parseHeader(b, w.lim)
	if err != nil {
		w.note(err.What, err.Limit)
	}
	if h.long {
		w.note(LimitLineBytes, w.lim.LineBytes)
	}
	w.walk(h, rest, depth+1)
}
