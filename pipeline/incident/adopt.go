package incident

import (
	"strings"

	"carom.dev/carom/schema"
)

// Adopt is the last step of a rebuild: a new detector folds the minutes of the last hours or days again, its revisions
// are thrown away, and Adopt tells it which incidents really are open by the published record, with their last
// revisions. An incident found again under the same scope goes on under the published id; one that was not found again
// is taken over as it was published and resolves in the usual way; one that was found but never published is forgotten,
// so that it is opened again, visibly, if it still goes on.
func (d *Detector) Adopt(open []*schema.Incident) {
	known := map[string]bool{}
	for _, inc := range open {
		if inc.State == schema.IncidentState_RESOLVED {
			continue
		}
		r := adopted(inc)
		if mine := d.incidents[r.key]; mine != nil {
			// Its counts are as good as the minutes re-read; what was published may reach further back.
			if mine.onset <= r.onset {
				r.total, r.atHit = mine.total, mine.atHit
			}
			r.lastHit, r.quiet, r.sinceHit, r.sources = max(r.lastHit, mine.lastHit), mine.quiet, mine.sinceHit, mine.sources
			r.z, r.control = max(r.z, mine.z), mine.control
		}
		known[r.key] = true
		d.incidents[r.key] = r
		d.open = insert(d.open, r.key)
	}
	for key, r := range d.incidents {
		if r.isOpen() && !known[key] {
			delete(d.incidents, key)
			d.open = remove(d.open, key)
		}
	}
}

func adopted(inc *schema.Incident) *record {
	r := &record{
		scope:    scope{provider: inc.Provider, ip: confinedSource(inc), class: inc.Class, group: groupOf(inc.Class), view: viewAll},
		id:       inc.Id,
		kind:     inc.Kind,
		severity: inc.Severity,
		revision: inc.Revision,
		state:    inc.State,
		onset:    inc.OnsetUs / minuteUS, opened: inc.OpenedUs / minuteUS,
		lastHit: inc.UpdatedUs / minuteUS, published: inc.UpdatedUs / minuteUS,
		share: inc.Share, z: inc.Z, reported: inc.Excess,
	}
	r.total = totals{float64(inc.Attempts), float64(inc.Observed), inc.AcceptedShare * float64(inc.Observed), inc.Expected}
	r.atHit = r.total
	r.key = r.scope.key()
	return r
}

// confinedSource returns the one source address that an incident is confined to, or "".
func confinedSource(inc *schema.Incident) string {
	narrow := strings.HasPrefix(inc.Kind, "ip_") || inc.Provider != "" &&
		(inc.Kind == KindListImport || inc.Kind == KindTenantAuth || inc.Kind == KindTenantPolicy)
	if narrow {
		for _, b := range inc.Breakdown {
			if b.Dimension == "source_ip" {
				return b.Value
			}
		}
	}
	return ""
}
