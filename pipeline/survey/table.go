package survey

import (
	"io"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/width"

	"carom.dev/carom/pipeline/report"
)

// table is written in columns. Cells are made fit for a terminal; the last column gives way where the width is short.
type table struct {
	head  []string
	right []int // columns aligned to the right
	rows  [][]string
	notes []string // a line below each row, as wide as the table's limit; nil for none, empty to leave one out
	style Style
	mark  func(row int) string // colour of a row; nil for none
}

const (
	gap    = 2
	indent = 2
	// noteIndent sets notes apart from rows.
	noteIndent = 6
	minLast    = 12  // columns of the last column that are always kept
	maxCell    = 400 // runes of a cell, whatever the width
	ellipsis   = '…'
)

// write writes t no wider than columns; 0 is no limit.
func (t table) write(w io.Writer, columns int) error {
	cells := make([][]string, 0, len(t.rows)+1)
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		clean := make([]string, len(row))
		for i, c := range row {
			clean[i] = report.Clean(c, maxCell)
			widths[i] = max(widths[i], displayWidth(clean[i]))
		}
		cells = append(cells, clean)
	}
	last := len(widths) - 1
	if columns > 0 {
		used := indent
		for _, n := range widths[:last] {
			used += n + gap
		}
		widths[last] = min(widths[last], max(columns-used, minLast))
	}
	var all strings.Builder
	for n, row := range cells {
		var b strings.Builder
		b.WriteString(strings.Repeat(" ", indent))
		for i, c := range row {
			if i == last {
				c = cut(c, widths[i])
			}
			pad := strings.Repeat(" ", widths[i]-displayWidth(c))
			switch {
			case slices.Contains(t.right, i):
				b.WriteString(pad + c)
			case i == last:
				b.WriteString(c)
			default:
				b.WriteString(c + pad)
			}
			if i < last {
				b.WriteString(strings.Repeat(" ", gap))
			}
		}
		all.WriteString(t.paint(n, strings.TrimRight(b.String(), " ")))
		all.WriteByte('\n')
		if n > 0 && n <= len(t.notes) && t.notes[n-1] != "" {
			note := strings.Repeat(" ", noteIndent) + report.Clean(t.notes[n-1], maxCell)
			if columns > 0 {
				note = cut(note, columns)
			}
			all.WriteString(t.style.paint(dim, note))
			all.WriteByte('\n')
		}
	}
	_, err := io.WriteString(w, all.String())
	return err
}

// paint colours a line, 0 being the head.
func (t table) paint(n int, line string) string {
	if n == 0 {
		return t.style.paint(dim, line)
	}
	if t.mark == nil {
		return line
	}
	return t.style.paint(t.mark(n-1), line)
}

// displayWidth is the number of terminal columns of s: two for East Asian wide characters (UAX #11), none for combining marks.
func displayWidth(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// cut shortens s to n columns.
func cut(s string, n int) string {
	if displayWidth(s) <= n {
		return s
	}
	used := 0
	for i, r := range s {
		if used += runeWidth(r); used > n-1 {
			return s[:i] + string(ellipsis)
		}
	}
	return s
}
