package dsn

import (
	"html"
	"strings"
)

// breaking are the elements that begin and end a line of text, spacing those that stand apart from the text around them.
const (
	breaking = " div td th li dt dd title hr form section article header footer caption "
	spacing  = " p tr ul ol dl table h1 h2 h3 h4 h5 h6 pre blockquote "
)

// page gathers the text of an HTML page.
type page struct {
	strings.Builder
	last, before byte // last bytes written
}

func (p *page) write(s string) {
	switch len(s) {
	case 0:
		return
	case 1:
		p.before, p.last = p.last, s[0]
	default:
		p.before, p.last = s[len(s)-2], s[len(s)-1]
	}
	p.WriteString(s)
}

// run writes text whose line ends are no more than blanks. RFC 1866 and its heirs.
func (p *page) run(s string) {
	for {
		i := strings.IndexAny(s, "\r\n")
		if i < 0 {
			p.write(s)
			return
		}
		p.write(s[:i])
		if p.last != '\n' && p.last != ' ' && p.Len() > 0 {
			p.write(" ")
		}
		s = strings.TrimLeft(s[i:], " \t\r\n")
	}
}

// line begins a new line, or with blank leaves an empty one.
func (p *page) line(blank bool) {
	if p.Len() == 0 {
		return
	}
	if p.last != '\n' {
		p.write("\n")
	}
	if blank && p.before != '\n' {
		p.write("\n")
	}
}

// stripHTML returns the text of a page, a line for each block. It reads what breaks the rules of HTML as well as what keeps them.
func stripHTML(s string) string {
	var out page
	out.Grow(len(s) / 2)
	// QUIRK: a plain text that is called HTML keeps its lines.
	pre := 0
	if indexFold(s, "<br") < 0 && indexFold(s, "<p") < 0 && indexFold(s, "<div") < 0 && indexFold(s, "<td") < 0 {
		pre = 1
	}
	text := func(t string) {
		if pre > 0 {
			out.write(t)
		} else {
			out.run(t)
		}
	}
	for s != "" {
		open := strings.IndexByte(s, '<')
		if open < 0 {
			text(s)
			break
		}
		text(s[:open])
		s = s[open:]
		if strings.HasPrefix(s, "<!--") {
			_, s, _ = strings.Cut(s, "-->")
			continue
		}
		end := strings.IndexByte(s, '>')
		if end < 0 {
			break
		}
		tag := s[1:end]
		s = s[end+1:]
		// QUIRK: an address in bare angle brackets is text.
		if strings.IndexByte(tag, '@') >= 0 && !strings.ContainsAny(tag, " =\"'") {
			out.write("<" + tag + ">")
			continue
		}
		name := tag
		if i := strings.IndexAny(tag, " \t\r\n"); i >= 0 {
			name = tag[:i]
		}
		name = strings.ToLower(strings.TrimSuffix(name, "/"))
		bare, closing := strings.CutPrefix(name, "/")
		switch {
		case name == "style" || name == "script":
			if i := indexFold(s, "</"+name); i >= 0 {
				s = s[i:]
			} else {
				s = ""
			}
		case bare == "pre":
			if out.line(true); closing {
				pre = max(pre-1, 0)
			} else {
				pre++
			}
		case bare == "br":
			out.write("\n")
		case len(bare) > 0 && strings.Contains(spacing, " "+bare+" "):
			out.line(true)
		case len(bare) > 0 && strings.Contains(breaking, " "+bare+" "):
			out.line(false)
		}
	}
	return html.UnescapeString(out.String())
}

// metaCharset finds the character set that a page names in its head.
func metaCharset(b []byte) string {
	low := strings.ToLower(string(b[:min(len(b), 1024)]))
	_, rest, found := strings.Cut(low, "charset=")
	if !found {
		return ""
	}
	rest = strings.TrimLeft(rest, `"'`)
	if end := strings.IndexAny(rest, "\"'/> ;\n"); end >= 0 {
		return rest[:end]
	}
	return ""
}

// indexFold finds a lower-case ASCII needle without regard to case. It begins with a mark, not with a letter.
func indexFold(s, needle string) int {
	for at := 0; ; {
		i := strings.IndexByte(s[at:], needle[0])
		if i < 0 || at+i+len(needle) > len(s) {
			return -1
		}
		at += i
		if strings.EqualFold(s[at:at+len(needle)], needle) {
			return at
		}
		at++
	}
}
