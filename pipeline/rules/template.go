package rules

import "encoding/hex"

// templateID names the shape of a subject: reply code, enhanced code and the words without what differs from message to
// message. It is FNV-1a (64 bit, the upper 48 printed), for grouping only. It allocates the id.
func templateID(subject, scratch []byte) (string, []byte) {
	masked := appendTemplate(scratch[:0], subject)
	h := uint64(14695981039346656037)
	for _, c := range masked {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h ^= h >> 29 // the low bits of FNV are the weak ones; the high ones are printed
	var raw [6]byte
	for i := range raw {
		raw[i] = byte(h >> (56 - 8*i))
	}
	var id [1 + 2*len(raw)]byte
	id[0] = 't'
	hex.Encode(id[1:], raw[:])
	return string(id[:]), masked
}

// appendTemplate appends a subject with its variable parts masked: "#" for every run of letters, digits, dots, dashes
// and underscores that holds a digit (numbers, addresses, ids, hexadecimal), "%" for host names, "?" for what follows
// the question mark of a link. The reply codes stay; the phase goes, because the same words come in several.
func appendTemplate(dst, subject []byte) []byte {
	i, spaces := 0, 0
	for i < len(subject) && subject[i] != '|' { // the head: two codes and the phase
		if subject[i] == ' ' {
			spaces++
		}
		if spaces < 2 {
			dst = append(dst, subject[i])
		}
		i++
	}
	link := false // inside a link, where host names tell more than they vary
	for i < len(subject) {
		c := subject[i]
		if !isNamePart(c) {
			if c == ' ' {
				link = false
			}
			if link && c == '?' {
				dst = append(dst, '?')
				for i < len(subject) && subject[i] != ' ' {
					i++
				}
				continue
			}
			if c == '/' && i+1 < len(subject) && subject[i+1] == '/' {
				link = true
			}
			if c != '#' || len(dst) == 0 || dst[len(dst)-1] != '#' {
				dst = append(dst, c)
			}
			i++
			continue
		}
		start, digits, dots := i, 0, 0
		for i < len(subject) && isNamePart(subject[i]) {
			if isDigit(subject[i]) {
				digits++
			} else if subject[i] == '.' && i > start && i+1 < len(subject) && isNamePart(subject[i+1]) && subject[i+1] != '.' {
				dots++
			}
			i++
		}
		switch {
		case digits > 0:
			dst = append(dst, '#')
		case dots > 0 && !link:
			dst = append(dst, '%')
		default:
			dst = append(dst, subject[start:i]...)
		}
	}
	return dst
}

// namePart holds the bytes of names, numbers and ids; a table because every byte of every reply is looked up.
var namePart = func() (t [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyz0123456789.-_") {
		t[c] = true
	}
	return t
}()

func isNamePart(c byte) bool { return namePart[c] }
