package lmtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// stuff writes a mail as a client does: RFC 5321, section 4.5.2.
func stuff(text []byte) []byte {
	out := bytes.ReplaceAll(append([]byte("\r\n"), text...), []byte("\r\n."), []byte("\r\n.."))[2:]
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\r\n")) {
		out = append(out, "\r\n"...)
	}
	return append(out, ".\r\n"...)
}

// Any mail comes out as it went in, and not a byte behind its end is taken. A mail that was cut off is an error wherever it
// was cut.
func FuzzMail(f *testing.F) {
	for _, s := range []string{"", ".", "x", "..\r\n.", "\r\n.\r\n", "\n.\n", "\r.\r", "\r\r\n.\r\n", ".\r.\r\n", "\x00\r\n\xff", ".\n.\r\n"} {
		f.Add([]byte(s), "MAIL FROM:<>\r\n", uint16(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, next string, cut uint16) {
		sent := stuff(text)
		want := text
		if len(text) > 0 && !bytes.HasSuffix(text, []byte("\r\n")) {
			want = append(append([]byte{}, text...), "\r\n"...)
		}
		r := bufio.NewReader(io.MultiReader(bytes.NewReader(sent), strings.NewReader(next)))
		b := newBody(1 << 20)
		if err := b.readDotted(r); err != nil {
			t.Fatalf("%q: %v", sent, err)
		}
		if !bytes.Equal(b.text, want) || b.size != int64(len(want)) {
			t.Fatalf("%q came out as %q", want, b.text)
		}
		if rest, err := io.ReadAll(r); err != nil || string(rest) != next {
			t.Fatalf("behind it %q, want %q", rest, next)
		}
		short := sent[:int(cut)%len(sent)]
		if err := newBody(10).readDotted(bufio.NewReader(bytes.NewReader(short))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%q, cut off: %v", short, err)
		}
	})
}

// script is a connection on which everything has been said.
type script struct {
	net.Conn
	in     *bytes.Reader
	out    bytes.Buffer
	closed bool
}

func (s *script) Read(p []byte) (int, error) {
	if s.closed {
		return 0, net.ErrClosed
	}
	return s.in.Read(p)
}

func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) Close() error                     { s.closed = true; return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// Whatever a client says, the server answers in whole lines, ends, and keeps no mail that was not asked for with DATA or BDAT.
func FuzzDialogue(f *testing.F) {
	for _, s := range []string{
		opening + "DATA\r\nx\r\n.\r\nQUIT\r\n", opening + "BDAT 3\r\nabcBDAT 2 LAST\r\nxxQUIT\r\n", "POST / HTTP/1.1\r\n\r\n",
		"LHLO x\r\nMAIL FROM:<\"a\\\"b>\"@c.example> SIZE=3\r\nRCPT TO:<@a:b@in.example>\r\nDATA\r\n", "LHLO \x00\r\n", "LHLO x\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		k := &keeper{}
		cfg := testConfig()
		s := NewServer(cfg, nil, k)
		script := &script{in: bytes.NewReader(said)}
		newConn(s, script).serve()
		text := script.out.Bytes()
		if len(text) > 0 && !bytes.HasSuffix(text, []byte("\r\n")) {
			t.Fatalf("answers %q", text)
		}
		upper := bytes.ToUpper(said)
		if n := len(k.kept()); n > bytes.Count(upper, []byte("DATA"))+bytes.Count(upper, []byte("BDAT")) {
			t.Fatalf("%d mails of %q", n, said)
		}
		for _, m := range k.kept() {
			if len(m.To) == 0 || len(m.Text) > cfg.KeepBytes || m.Size > cfg.MaxMailBytes || int64(len(m.Text)) > m.Size {
				t.Fatalf("kept %+v", m)
			}
			for _, to := range m.To {
				if strings.ContainsAny(to, "\r\n\x00") || !bytes.Contains(said, []byte(to)) {
					t.Fatalf("recipient %q of %q", to, said)
				}
			}
		}
	})
}
