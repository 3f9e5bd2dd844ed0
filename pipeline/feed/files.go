package feed

import (
	"container/list"
	"encoding/binary"
	"fmt"
	"strings"
)

// FilesConfig bounds what Files keeps.
type FilesConfig struct {
	MaxHosts int // hosts whose header is remembered
	MaxBytes int // of headers and open records, together
}

// DefaultFilesConfig is enough for any sender known.
func DefaultFilesConfig() FilesConfig { return FilesConfig{MaxHosts: 10_000, MaxBytes: 64 << 20} }

// Validate names the field that cannot be.
func (c FilesConfig) Validate() error {
	switch {
	case c.MaxHosts < 1:
		return fmt.Errorf("max hosts %d: want 1 or more", c.MaxHosts)
	case c.MaxBytes < 2*MaxRecordBytes:
		return fmt.Errorf("max bytes %d: want %d or more", c.MaxBytes, 2*MaxRecordBytes)
	}
	return nil
}

// Files reads the PowerMTA files of many hosts whose rows come interleaved, as log shippers send them: a CSV for each host.
// Beyond its bounds it forgets the host that was silent longest, whose rows are faults with ReasonHeader until its next
// file begins. What it forgets depends on the order of the rows alone.
//
// It is not safe for concurrent use. Make one with NewFiles.
type Files struct {
	p     *Parser
	cfg   FilesConfig
	hosts map[string]*list.Element // of *hostFile
	order *list.List               // the one that was silent longest is first
	bytes int
}

type hostFile struct {
	host  string
	csv   CSV
	bytes int
}

// NewFiles returns an empty table that works with the buffers, site and feed of p. It panics if cfg does not pass Validate.
func NewFiles(p *Parser, cfg FilesConfig) *Files {
	if err := cfg.Validate(); err != nil {
		panic("feed: " + err.Error())
	}
	return &Files{p: p, cfg: cfg, hosts: map[string]*list.Element{}, order: list.New()}
}

// Hosts returns the number of hosts whose file is known, Bytes the size of what is kept of them.
func (f *Files) Hosts() int { return len(f.hosts) }

// Bytes returns the size of the headers and open records that are kept.
func (f *Files) Bytes() int { return f.bytes }

// Parse reads the next rows of a host's file, as CSV.Parse does, and calls the Parser's SetHost. If another host has to be
// forgotten, the faults of its open record are among what is told and counted.
func (f *Files) Parse(host string, body []byte, h Handler) (Result, error) {
	e := f.hosts[host]
	if e == nil {
		own := &hostFile{host: strings.Clone(host), csv: CSV{p: f.p}}
		e = f.order.PushBack(own)
		f.hosts[own.host] = e
	} else {
		f.order.MoveToBack(e)
	}
	own := e.Value.(*hostFile)
	f.p.SetHost(host)
	res, err := own.csv.piece(body, h, false)
	f.measure(own)
	if own.csv.header == "" && own.csv.open == "" {
		f.remove(e)
	}
	for len(f.hosts) > f.cfg.MaxHosts || (f.bytes > f.cfg.MaxBytes && len(f.hosts) > 1) {
		e := f.order.Front()
		res.add(f.closeFile(e.Value.(*hostFile), h))
		f.remove(e)
	}
	return res, err
}

// Close says that nothing will follow: records that wait for their rest are read as CSV.Close does. The headers stay.
func (f *Files) Close(h Handler) (res Result) {
	for e := f.order.Front(); e != nil; e = e.Next() {
		res.add(f.closeFile(e.Value.(*hostFile), h))
	}
	return res
}

func (f *Files) closeFile(own *hostFile, h Handler) Result {
	if own.csv.open == "" {
		return Result{}
	}
	f.p.SetHost(own.host)
	res := own.csv.Close(h)
	f.measure(own)
	return res
}

func (f *Files) measure(own *hostFile) {
	n := len(own.host) + len(own.csv.header) + len(own.csv.open)
	f.bytes += n - own.bytes
	own.bytes = n
}

func (f *Files) remove(e *list.Element) {
	own := f.order.Remove(e).(*hostFile)
	delete(f.hosts, own.host)
	f.bytes -= own.bytes
}

// Expects reports whether a line can be the next one of a host's file: the rest of an open record, or a row of a type that
// PowerMTA knows with as many columns as its header, or with fewer and a quoted field that goes on in the next line. Header
// rows are known by Detect.
func (f *Files) Expects(host string, line []byte) bool {
	e := f.hosts[host]
	if e == nil {
		return false
	}
	c := &e.Value.(*hostFile).csv
	if c.open != "" {
		return true
	}
	next, why := c.row(string(line[:min(len(line), MaxRecordBytes)]), 0)
	n := len(f.p.fields)
	if why != reasonNone || n <= c.columns[colType] || n > c.width || (next >= 0 && n < c.width) {
		return false
	}
	switch c.get(colType) {
	case "d", "b", "t", "tq", "r", "f", "rb", "rs":
		return true
	}
	return false
}

// filesVersion begins a written table.
const filesVersion = "carom powermta files 1\n"

// AppendState appends the table to b. With the position of the next row, this is all that LoadState needs to go on as if
// nothing had happened.
func (f *Files) AppendState(b []byte) []byte {
	b = append(b, filesVersion...)
	b = binary.AppendUvarint(b, uint64(len(f.hosts)))
	for e := f.order.Front(); e != nil; e = e.Next() {
		own := e.Value.(*hostFile)
		for _, part := range [...]string{own.host, own.csv.header, own.csv.open} {
			b = appendString(b, part)
		}
	}
	return b
}

// LoadState replaces the table by one that AppendState wrote; b is not kept. An error wraps ErrState and leaves the table
// as it was. If the bounds have become narrower, hosts are forgotten at the next row.
func (f *Files) LoadState(b []byte) error {
	s, ok := strings.CutPrefix(string(b), filesVersion)
	if !ok {
		return fmt.Errorf("load powermta files: version: %w", ErrState)
	}
	d := decoder{s: s}
	loaded := Files{p: f.p, cfg: f.cfg, hosts: map[string]*list.Element{}, order: list.New()}
	for n := d.count(3); n > 0 && !d.bad; n-- {
		own := &hostFile{host: strings.Clone(d.string()), csv: CSV{p: f.p}}
		header, open := d.string(), strings.Clone(d.string())
		if d.bad || loaded.hosts[own.host] != nil || header+open == "" || !own.csv.load(header, open) {
			return fmt.Errorf("load powermta files: host %d from the end: %w", n, ErrState)
		}
		loaded.hosts[own.host] = loaded.order.PushBack(own)
		loaded.measure(own)
	}
	if d.bad || d.s != "" {
		return fmt.Errorf("load powermta files: %d bytes from the end: %w", len(d.s), ErrState)
	}
	*f = loaded
	return nil
}
