package recipient

import (
	_ "embed"
	"time"

	"carom.dev/carom/schema"
)

// DefaultPolicy is the text of the policy that a Store starts with and that a new installation writes into its genesis record.
//
//go:embed policy/default.policy
var DefaultPolicy string

// Forever is the duration written "forever": no end.
const Forever = time.Duration(0)

// ScopeKind says how far decisions of a group reach.
type ScopeKind uint8

// The kinds of scope.
const (
	ScopeAll    ScopeKind = iota + 1 // "*"
	ScopeTenant                      // "tenant:T", or "*" for an event that names no tenant
	ScopeBulk                        // "bulk"
)

// Window is a group of classes whose failures count within a window.
type Window struct {
	Name        string
	Classes     []string
	Scope       ScopeKind
	Events      int           // so many significant events ...
	Over        time.Duration // ... whose first and last lie at least this far apart
	SuppressFor time.Duration // length of the first suppression
	SuppressMax time.Duration // doubling stops here
}

// Hard is the group of classes of which one failure may be enough.
type Hard struct {
	Classes         []string
	Scope           ScopeKind
	WaitNotAccepted time.Duration // from failure to due time
	WaitAccepted    time.Duration // the same for accepted or unknown recipients
	ConfirmAfter    time.Duration // distance of a confirming failure of another message
	WatchFor        time.Duration
	SuppressFor     time.Duration // Forever: until a person, an amnesty or an undo lifts it
	SuppressMax     time.Duration
}

// Complaint is the group of the recipient's own refusals, complaints and wishes to be left out; only a person lifts them.
type Complaint struct {
	Classes []string
	Scope   ScopeKind
}

// Limits bound the memory of one partition. They belong to the policy because they shape the state.
type Limits struct {
	Records     int // (recipient, scope) pairs
	Provisional int // first deliveries younger than ProvisionalFor
	Incidents   int // holds, ended ones included
}

// Policy holds every number of the decision. It is immutable once parsed.
type Policy struct {
	Version string // as given, or derived from the text
	Mode    Mode

	AcceptedWithin  time.Duration
	ProvisionalFor  time.Duration
	HistoryNeeded   time.Duration
	MessageLifetime time.Duration
	SignificantGap  time.Duration
	DecayAfter      time.Duration
	DecayIntervals  int
	KeepCounters    time.Duration
	HoldAsyncGrace  time.Duration
	HoldMemory      time.Duration
	ForgetAfter     time.Duration

	Hard      Hard
	Complaint Complaint
	Doubtful  Window // hard classes with a windowed verdict, hard classes and refusals by a mail that is not believed; no classes of its own
	Windows   []Window
	Limits    Limits

	text    string
	byClass map[string]group
}

// Mode says whether decisions bind.
type Mode uint8

// The modes.
const (
	ModeGenesis Mode = iota // as the genesis record says
	ModeObserve             // decisions are marked dry run
	ModeEnforce
)

// group numbers the class groups of one policy: none, hard, complaint, doubtful, then the windows in file order. Groups are
// never stored; they are looked up by class, so that a policy may regroup classes without touching the state.
type group uint8

const (
	groupNone group = iota
	groupHard
	groupComplaint
	groupDoubtful
	groupWindows // first of the windows
)

// Group numbers and evidence lists are kept small; these are limits of the representation, not of the policy.
const (
	maxWindows  = 32
	maxEvidence = 8
)

// class returns the group of a class, whatever the verdict says about it.
func (p *Policy) class(class string) group { return p.byClass[class] }

// groupOf returns the group in which a failure counts, groupNone when it does not: a class that is in no group never counts.
func (p *Policy) groupOf(class string, suppress schema.Suppress) group {
	g := p.byClass[class]
	switch suppress {
	case schema.Suppress_SUPPRESS_CANDIDATE:
		return g
	case schema.Suppress_SUPPRESS_WINDOWED:
		if g == groupHard {
			return groupDoubtful
		}
		return g
	default:
		return groupNone
	}
}

// window returns the parameters of a windowed group.
func (p *Policy) window(g group) *Window {
	if g == groupDoubtful {
		return &p.Doubtful
	}
	return &p.Windows[g-groupWindows]
}

// suppression returns how long a suppression of the group lasts, in microseconds, after so many doublings; 0 is forever.
func (p *Policy) suppression(g group, level uint8) int64 {
	var first, most time.Duration
	switch {
	case g == groupHard || g == groupComplaint || g == groupNone:
		first, most = p.Hard.SuppressFor, p.Hard.SuppressMax
	default:
		w := p.window(g)
		first, most = w.SuppressFor, w.SuppressMax
	}
	d := first
	for range level {
		if d == Forever || (most != Forever && d >= most) {
			break
		}
		d *= 2
	}
	if most != Forever && d > most {
		d = most
	}
	return d.Microseconds()
}

// scope names the scope of a group for an event's tenant.
func (p *Policy) scope(g group, tenant string) string {
	var kind ScopeKind
	switch g {
	case groupHard:
		kind = p.Hard.Scope
	case groupComplaint:
		kind = p.Complaint.Scope
	default:
		kind = p.window(g).Scope
	}
	switch {
	case kind == ScopeBulk:
		return scopeBulk
	case kind == ScopeTenant && tenant != "":
		return scopeTenantPrefix + tenant
	default:
		return scopeAll
	}
}

const (
	scopeAll          = "*"
	scopeBulk         = "bulk"
	scopeTenantPrefix = "tenant:"
)
