package recipient

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/schema"
)

var update = flag.Bool("update", false, "write what the stories give now")

// TestStories replays testdata/*.story: commands, "----", what they gave, an empty line. Every story is run twice: straight,
// and with the state saved and loaded before each command, which must make no difference.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.story")
	if err != nil || len(files) < 8 {
		t.Fatalf("found %d story files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".story"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := tell(t, string(text), false)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("the story goes\n%s\nwanted\n%s", got, text)
			}
			if restored := tell(t, string(text), true); restored != got {
				t.Errorf("with restores between commands the story goes\n%s\nwanted\n%s", restored, got)
			}
		})
	}
}

// tell runs a story and returns it with the outputs as they are.
func tell(t *testing.T, text string, restore bool) string {
	st := &storyteller{t: t, s: NewStore()}
	var out strings.Builder
	inOutput := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "----":
			inOutput = true
			fmt.Fprintf(&out, "----\n%s", st.out.String())
			st.out.Reset()
		case line == "":
			inOutput = false
			out.WriteString("\n")
		case inOutput:
		default:
			fmt.Fprintln(&out, line)
			if strings.HasPrefix(line, "#") {
				continue
			}
			if restore {
				fresh := NewStore()
				if err := fresh.LoadState(st.s.AppendState(nil)); err != nil {
					t.Fatal(err)
				}
				st.s = fresh
			}
			st.run(line)
		}
	}
	if st.out.Len() > 0 {
		t.Fatal("the story ends without ----")
	}
	return out.String()
}

// storyteller runs commands. Times are distances from a fixed day ("10d2h"), messages and recipients are short words.
type storyteller struct {
	t      *testing.T
	s      *Store
	out    strings.Builder
	offset int64
	seq    int64
	events int
}

var storyStart = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func (st *storyteller) run(line string) {
	fields := strings.Fields(line)
	arg := map[string]string{}
	for _, f := range fields[1:] {
		k, v, _ := strings.Cut(f, "=")
		arg[k] = v
	}
	st.offset++
	at := Position{Partition: 3, Offset: st.offset}
	emit := func(d *schema.Decision) { st.print(d) }
	control := func(c *schema.Control) {
		st.seq++
		c.Seq = st.seq
		if err := st.s.Control(c, at, emit); err != nil {
			fmt.Fprintf(&st.out, "error: %v\n", err)
		}
	}
	switch fields[0] {
	case "deliver", "fail", "complain", "unsubscribe", "open", "click":
		st.events++
		ev, v := st.event(fields[0], arg)
		fmt.Fprintf(&st.out, "%s %s: acceptance %q\n", fields[0], arg["to"], st.s.Apply(ev, v, at, emit).Name())
	case "tick":
		control(&schema.Control{Body: &schema.Control_Tick{Tick: &schema.Tick{AtUs: st.us(arg["at"])}}})
	case "allclear":
		clear := &schema.AllClear{ThroughUs: st.us(arg["through"])}
		if arg["except"] != "" {
			clear.Except = strings.Split(arg["except"], ",")
		}
		control(&schema.Control{Body: &schema.Control_AllClear{AllClear: clear}})
	case "incident":
		control(&schema.Control{Body: &schema.Control_Incident{Incident: st.incident(arg)}})
	case "manual":
		_, suppress := arg["suppress"]
		control(&schema.Control{AtMs: st.us(arg["at"]) / 1000, Body: &schema.Control_Manual{Manual: &schema.Manual{
			RecipientKey: []byte(arg["to"] + "@x.example"), Scope: arg["scope"], Suppress: suppress, Who: "eve", Why: "asked",
		}}})
	case "policy":
		text := DefaultPolicy
		for k, v := range arg {
			if k == "mode" {
				text = strings.Replace(text, "# mode = observe", "mode = "+v, 1)
				continue
			}
			old, _, ok := strings.Cut(text[strings.Index(text, k+" ="):], "\n")
			if !ok {
				st.t.Fatalf("no %s in the default policy", k)
			}
			text = strings.Replace(text, old, k+" = "+v, 1)
		}
		control(&schema.Control{Body: &schema.Control_Policy{Policy: &schema.Policy{Text: "version = edited\n" + text}}})
	case "genesis":
		_, observe := arg["observe"]
		control(&schema.Control{Body: &schema.Control_Genesis{Genesis: &schema.Genesis{Policy: DefaultPolicy, Observe: observe}}})
	case "records":
		fmt.Fprintf(&st.out, "%d records\n", st.s.Len())
	default:
		st.t.Fatalf("unknown command %q", line)
	}
}

func (st *storyteller) event(verb string, arg map[string]string) (*schema.DeliveryEvent, *schema.Verdict) {
	ev := &schema.DeliveryEvent{
		EventId: "e" + strconv.Itoa(st.events), OccurredAtUs: st.us(arg["at"]), RecipientKey: []byte(arg["to"] + "@x.example"),
		Domain: "x.example", MtaHost: "mx1", QueueId: arg["msg"], MessageId: arg["id"], Tenant: arg["tenant"],
		Outcome: schema.Outcome_BOUNCED, EnhancedCode: arg["enh"], EnhancedSource: schema.EnhancedSource_ENHANCED_REMOTE,
	}
	if code, err := strconv.Atoi(arg["code"]); err == nil {
		ev.SmtpCode = int32(code)
	}
	if name := arg["outcome"]; name != "" {
		ev.Outcome = schema.Outcome(schema.Outcome_value[strings.ToUpper(name)])
	}
	_, ev.Backfill = arg["backfill"]
	_, ev.Joined = arg["joined"]
	_, ev.Machine = arg["machine"]
	ev.ForwardedTo = arg["forwarded"]
	if trust := arg["trust"]; trust != "" {
		ev.Trust = schema.Trust(schema.Trust_value["TRUST_"+strings.ToUpper(trust)])
	}
	v := &schema.Verdict{Class: arg["class"], Provider: arg["provider"], Rule: arg["rule"], Scope: schema.Scope_SCOPE_RECIPIENT}
	if arg["cause"] != "" {
		v.Class, v.CauseClass = "queue.expired", arg["cause"]
	}
	if arg["scope"] != "" {
		v.Scope = schema.Scope(schema.Scope_value["SCOPE_"+strings.ToUpper(arg["scope"])])
	}
	switch st.s.policy.class(classOf(v)) {
	case groupNone, groupComplaint:
		v.Suppress = schema.Suppress_SUPPRESS_NEVER
	case groupHard:
		v.Suppress = schema.Suppress_SUPPRESS_CANDIDATE
	default:
		v.Suppress = schema.Suppress_SUPPRESS_WINDOWED
	}
	if arg["suppress"] != "" {
		v.Suppress = schema.Suppress(schema.Suppress_value["SUPPRESS_"+strings.ToUpper(arg["suppress"])])
	}
	switch verb {
	case "deliver":
		ev.Outcome, v = schema.Outcome_DELIVERED, &schema.Verdict{}
	case "complain":
		ev.Outcome, v = schema.Outcome_COMPLAINT, &schema.Verdict{Class: "notice.complaint"}
	case "unsubscribe":
		ev.Outcome, v = schema.Outcome_UNSUBSCRIBED, &schema.Verdict{Class: "notice.unsubscribe"}
	case "open":
		ev.Outcome, v = schema.Outcome_OPENED, &schema.Verdict{}
	case "click":
		ev.Outcome, v = schema.Outcome_CLICKED, &schema.Verdict{}
	}
	return ev, v
}

func (st *storyteller) incident(arg map[string]string) *schema.Incident {
	rev, err := strconv.Atoi(arg["rev"])
	if err != nil {
		st.t.Fatal(err)
	}
	in := &schema.Incident{
		Id: arg["id"], Revision: uint32(rev), Kind: arg["kind"], Provider: arg["provider"], Class: arg["class"],
		Hold: arg["hold"] != "no", HoldFromUs: st.us(arg["from"]), HoldUntilUs: st.us(arg["until"]), UpdatedUs: st.us(arg["at"]),
		State: schema.IncidentState_OPEN,
	}
	if _, ok := arg["resolved"]; ok {
		in.State, in.ResolvedUs = schema.IncidentState_RESOLVED, in.UpdatedUs
	}
	return in
}

// us reads "10d2h30m" after the start; nothing is 0.
func (st *storyteller) us(v string) int64 {
	if v == "" {
		return 0
	}
	at := storyStart
	sign := time.Duration(1)
	if strings.HasPrefix(v, "-") {
		sign, v = -1, v[1:]
	}
	if days, rest, ok := strings.Cut(v, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil {
			st.t.Fatal(err)
		}
		at = at.Add(sign * time.Duration(n) * 24 * time.Hour)
		v = rest
	}
	if v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			st.t.Fatal(err)
		}
		at = at.Add(sign * d)
	}
	return at.UnixMicro()
}

func (st *storyteller) print(d *schema.Decision) {
	who, _, _ := strings.Cut(string(d.RecipientKey), "@")
	fmt.Fprintf(&st.out, "  %s %s: %s -> %s at %s", who, d.Scope, d.Previous.Name(), d.State.Name(), since(d.DecidedUs))
	if d.DueUs != 0 {
		fmt.Fprintf(&st.out, ", due %s", since(d.DueUs))
	}
	if d.ExpiresUs != 0 {
		fmt.Fprintf(&st.out, ", until %s", since(d.ExpiresUs))
	}
	fmt.Fprintf(&st.out, "; %s; %s; events %v", d.Class, d.Reason, d.EventIds)
	if d.IncidentId != "" {
		fmt.Fprintf(&st.out, "; incident %s", d.IncidentId)
	}
	if d.DryRun {
		fmt.Fprint(&st.out, "; dry run")
	}
	fmt.Fprintln(&st.out)
}

// since writes a time as a story does.
func since(us int64) string {
	d := time.UnixMicro(us).Sub(storyStart)
	days := d / (24 * time.Hour)
	rest := strings.TrimSuffix(strings.TrimSuffix((d%(24*time.Hour)).String(), "0s"), "0m")
	return fmt.Sprintf("%dd%s", days, rest)
}
