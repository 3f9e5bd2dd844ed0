package dsn

import "strings"

// maxPaths is how many fields are read that may name the report's own envelope recipient.
const maxPaths = 16

// readPaths gathers the addresses that may be the one this mail came back to, the likeliest first.
func (p *parser) readPaths() {
	for _, name := range [...]string{"X-Original-To", "Delivered-To", "Envelope-To", "X-Envelope-To", "To"} {
		for value := range p.top.values(name) {
			if len(p.paths) == maxPaths {
				break
			}
			if addr, _ := firstAddress(unfold(value)); addr != "" {
				p.paths = append(p.paths, p.clip(addr))
			}
		}
	}
	p.report.ReturnPath = p.returnPath()
}

// returnPath chooses among the paths. A mail passes several servers, and each may note the address it delivered to: the one that
// the returned message names as its return path was ours for sure.
func (p *parser) returnPath() string {
	first := ""
	for _, path := range p.paths {
		if same(path, p.report.OriginalSender) {
			return path
		}
		// QUIRK: dma's own X-Original-To names the recipient that failed.
		if first == "" && !p.has(path) {
			first = path
		}
	}
	if first == "" && len(p.paths) > 0 {
		first = p.paths[0]
	}
	return first
}

// attribute finds for each recipient the address that was mailed, where it is another than the one that failed: a message may
// have been forwarded on its way.
//
// The sender's own marks are trusted most: the variable envelope return path comes back in the report's own address or in
// the returned message. Then what the report says, then the only address in the returned To.
func (p *parser) attribute() {
	r := &p.report
	if len(r.Recipients) == 0 {
		return
	}
	verp := ""
	if single := len(r.Recipients) == 1; single {
		known := [...]string{r.Recipients[0].Recipient, r.Recipients[0].Original, p.originalTo}
		for _, path := range [...]string{r.OriginalSender, r.ReturnPath} {
			if verp = p.clip(fromVERP(path, known[:])); verp != "" {
				break
			}
		}
		p.attributeOne(&r.Recipients[0], verp)
		return
	}
	for i := range r.Recipients {
		p.settleOne(&r.Recipients[i])
	}
}

// attributeOne is attribute for a report of one recipient: only there it is known whom a return path and a To speak of.
func (p *parser) attributeOne(rec *Recipient, verp string) {
	if rec.Recipient == "" {
		// A report that names nobody, or hides the name: the sender's marks are all there is.
		if rec.Recipient = verp; rec.Recipient == "" {
			rec.Recipient = p.originalTo
		}
	}
	// QUIRK: a mailbox of the system, without its domain
	if local, _, _ := strings.Cut(p.originalTo, "@"); local != "" && same(local, rec.Recipient) {
		rec.Recipient = p.originalTo
	}
	p.settleOne(rec)
	// Where the report and the returned To name the same address, that one was mailed, whatever the return path says.
	confirmed := p.originalTo != "" && (same(p.originalTo, rec.Recipient) || same(p.originalTo, rec.Original))
	if verp != "" && !confirmed {
		rec.Original = verp
	}
	if rec.Original == "" && !same(p.originalTo, p.report.OriginalSender) {
		rec.Original = p.originalTo
	}
	p.settleOne(rec)
}

// settleOne drops an Original that says nothing.
func (p *parser) settleOne(rec *Recipient) {
	// QUIRK: xtext that was not undone; the decoded form is known from elsewhere.
	if strings.IndexByte(rec.Original, '+') >= 0 && same(decodeXtext(rec.Original), rec.Recipient) {
		rec.Original = ""
	}
	if same(rec.Original, rec.Recipient) || !strings.Contains(rec.Original, "@") {
		rec.Original = ""
	}
}
