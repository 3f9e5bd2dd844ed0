package intake

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/pipeline/feed"
)

// What cannot work is refused with the name of the field and its value, before anything is opened.
func TestValidate(t *testing.T) {
	all := func() Config {
		c := testConfig()
		c.LMTP.Addr, c.LMTP.Domains = "127.0.0.1:2003", []string{"bounces.example"}
		c.Maildir.Dirs = []string{"/var/mail/bounces"}
		return c
	}
	_, key := sendGridKey(t)
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string // part of the error; empty: none
	}{
		"all doors":            {func(*Config) {}, ""},
		"no doors":             {func(c *Config) { *c = DefaultConfig(); c.Topic = "" }, ""},
		"no topic":             {func(c *Config) { c.Topic = "" }, "-intake.topic"},
		"timeout":              {func(c *Config) { c.Timeout = time.Hour }, "-intake.timeout 1h"},
		"record":               {func(c *Config) { c.MaxRecordBytes = 100 }, "-intake.max-record-bytes 100"},
		"keep":                 {func(c *Config) { c.KeepBytes = c.MaxRecordBytes }, "-intake.keep-bytes 921600"},
		"endpoints, no door":   {func(c *Config) { c.HTTP.Addr = "" }, "-intake.http-addr is empty"},
		"door, no endpoints":   {func(c *Config) { c.Endpoints = nil }, "no endpoints"},
		"http address":         {func(c *Config) { c.HTTP.Addr = "localhost" }, `-intake.http-addr "localhost"`},
		"half TLS":             {func(c *Config) { c.HTTP.TLSKeyFile = "x" }, "-intake.http-tls-cert-file"},
		"clients without TLS":  {func(c *Config) { c.HTTP.ClientCAFile = "x" }, "-intake.http-client-ca-file"},
		"body":                 {func(c *Config) { c.HTTP.MaxBodyBytes = 20 << 20 }, "-intake.http-max-body-bytes 20971520"},
		"body below a record":  {func(c *Config) { c.HTTP.MaxBodyBytes = 1 << 10 }, "-intake.http-max-body-bytes 1024"},
		"in flight":            {func(c *Config) { c.HTTP.MaxInFlight = 0 }, "-intake.http-max-in-flight 0"},
		"bytes in flight":      {func(c *Config) { c.HTTP.MaxInFlightBytes = 1 }, "-intake.http-max-in-flight-bytes 1"},
		"connections":          {func(c *Config) { c.HTTP.MaxConnections = 0 }, "-intake.http-max-connections 0"},
		"read timeout":         {func(c *Config) { c.HTTP.ReadTimeout = 0 }, "-intake.http-read-timeout 0s"},
		"lmtp address":         {func(c *Config) { c.LMTP.Addr = "x" }, `-intake.lmtp-addr "x"`},
		"lmtp socket":          {func(c *Config) { c.LMTP.Addr = "unix:x" }, `-intake.lmtp-addr "unix:x"`},
		"no domains":           {func(c *Config) { c.LMTP.Domains = nil }, "-intake.lmtp-domains"},
		"domain":               {func(c *Config) { c.LMTP.Domains = []string{"a@b.example"} }, `-intake.lmtp-domains "a@b.example"`},
		"network":              {func(c *Config) { c.LMTP.Allow = []string{"192.0.2.1"} }, `-intake.lmtp-allow "192.0.2.1"`},
		"socket mode":          {func(c *Config) { c.LMTP.SocketMode = 0o1777 }, "-intake.lmtp-socket-mode 01777"},
		"lmtp connections":     {func(c *Config) { c.LMTP.MaxConnections = 0 }, "-intake.lmtp-max-connections 0"},
		"recipients":           {func(c *Config) { c.LMTP.MaxRecipients = 101 }, "-intake.lmtp-max-recipients 101"},
		"mail":                 {func(c *Config) { c.LMTP.MaxMailBytes = 1 }, "-intake.lmtp-max-mail-bytes 1"},
		"command timeout":      {func(c *Config) { c.LMTP.CommandTimeout = 0 }, "-intake.lmtp-command-timeout 0s"},
		"data timeout":         {func(c *Config) { c.LMTP.DataTimeout = 0 }, "-intake.lmtp-data-timeout 0s"},
		"maildir twice":        {func(c *Config) { c.Maildir.Dirs = []string{"a", "a"} }, `-intake.maildir-dirs "a"`},
		"interval":             {func(c *Config) { c.Maildir.Interval = 0 }, "-intake.maildir-interval 0s"},
		"name":                 {func(c *Config) { c.Endpoints[0].Name = "Ses" }, `endpoint "Ses": name`},
		"name with a line end": {func(c *Config) { c.Endpoints[0].Name = "ses\n" }, `endpoint "ses\n": name`},
		"long name":            {func(c *Config) { c.Endpoints[0].Name = strings.Repeat("x", 65) }, "name"},
		"a door's name":        {func(c *Config) { c.Endpoints[0].Name = "lmtp" }, `endpoint "lmtp": name`},
		"two of a name":        {func(c *Config) { c.Endpoints[1].Name = c.Endpoints[0].Name }, "named twice"},
		"format":               {func(c *Config) { c.Endpoints[0].Format = "mail" }, `format "mail"`},
		"no authentication":    {func(c *Config) { c.Endpoints[0] = Endpoint{Name: "open", Format: feed.SES} }, `endpoint "open": no authentication`},
		"short token":          {func(c *Config) { c.Endpoints[0].Bearer = [][]byte{[]byte("fifteen-bytes..")} }, "bearer token: 15 bytes"},
		"empty token":          {func(c *Config) { c.Endpoints[0].Bearer = [][]byte{nil} }, "bearer token: 0 bytes"},
		"token's line end":     {func(c *Config) { c.Endpoints[0].Bearer = [][]byte{[]byte(testToken + "\n")} }, "bearer token: has a line end"},
		"token's space":        {func(c *Config) { c.Endpoints[0].Bearer = [][]byte{[]byte(testToken + " ")} }, "bearer token: has a space"},
		"user":                 {func(c *Config) { c.Endpoints[0].Basic[0].User = "a:b" }, `basic user "a:b"`},
		"password":             {func(c *Config) { c.Endpoints[0].Basic[0].Password = []byte("secret") }, `password of basic user "carom": 6 bytes`},
		"sendgrid key":         {func(c *Config) { c.Endpoints[0] = Endpoint{Name: "x", Format: feed.SendGrid, SendGridKey: "AAAA"} }, "key of SendGrid: want base64"},
		"sendgrid key, good":   {func(c *Config) { c.Endpoints[0] = Endpoint{Name: "x", Format: feed.SendGrid, SendGridKey: key} }, ""},
		"sendgrid key on ses":  {func(c *Config) { c.Endpoints[0] = Endpoint{Name: "x", Format: feed.SES, SendGridKey: key} }, "key of SendGrid: format is ses"},
		"mailgun key on ses":   {func(c *Config) { c.Endpoints[0] = Endpoint{Name: "x", Format: feed.SES, MailgunKey: []byte("k")} }, "key of Mailgun: format is ses"},
		"mailgun line end":     {func(c *Config) { c.Endpoints[0] = Endpoint{Name: "x", Format: feed.Mailgun, MailgunKey: []byte("k\n")} }, "key of Mailgun: has a line end"},
		"mailgun age": {func(c *Config) {
			c.Endpoints[0] = Endpoint{Name: "x", Format: feed.Mailgun, MailgunKey: []byte("k"), MailgunMaxAge: time.Second}
		}, "signatures 1s"},
		"topics on mailgun": {func(c *Config) {
			c.Endpoints[0] = Endpoint{Name: "x", Format: feed.Mailgun, SNSTopics: []string{snsTopic}}
		}, "topics of SNS: format is mailgun"},
		"topic":           {func(c *Config) { c.Endpoints[0] = Endpoint{Name: "x", Format: feed.SES, SNSTopics: []string{"ses"}} }, `topic of SNS "ses"`},
		"confirm nothing": {func(c *Config) { c.Endpoints[0].ConfirmSubscriptions = true }, "no SNS topics"},
	} {
		c := all()
		tc.change(&c)
		err := c.Validate()
		if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if err != nil && (strings.Contains(err.Error(), testToken) || strings.Contains(err.Error(), testPassword)) {
			t.Errorf("%s: the error shows a secret: %v", name, err)
		}
	}
}

func TestFlags(t *testing.T) {
	c := DefaultConfig()
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	c.RegisterFlags(fs)
	fs.SetOutput(io.Discard)
	err := fs.Parse([]string{
		"-intake.lmtp-domains", "a.example, b.example,", "-intake.lmtp-allow=192.0.2.0/24", "-intake.maildir-dirs=/a,/b", "-intake.lmtp-socket-mode=0600",
		"-intake.http-addr=:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.LMTP.Domains, c.LMTP.Allow, c.Maildir.Dirs, c.LMTP.SocketMode, c.HTTP.Addr); got != "[a.example b.example] [192.0.2.0/24] [/a /b] 384:0" {
		t.Errorf("got %s", got)
	}
	if got := fs.Lookup("intake.lmtp-socket-mode").Value.String() + fs.Lookup("intake.lmtp-domains").Value.String(); got != "0600a.example,b.example" {
		t.Errorf("shown as %s", got)
	}
	for _, bad := range []string{"rw", "01777", "600x", "", "9"} {
		if err := fs.Parse([]string{"-intake.lmtp-socket-mode=" + bad}); err == nil {
			t.Errorf("mode %q was taken", bad)
		}
	}
}

// An endpoint in a log, an error or a page shows no secret.
func TestEndpointsHideTheirSecrets(t *testing.T) {
	c := testConfig()
	c.Endpoints = c.Endpoints[:1]
	c.Endpoints[0].MailgunKey = []byte("mailgun-secret")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "config", c.Endpoints[0])
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "config", c.Endpoints[0], "all", c)
	text := fmt.Sprintf("%v %+v %#v %s %q %x", c, c, c, c.Endpoints, c.Endpoints[0], c.Endpoints[0]) + log.String()
	for _, secret := range []string{testToken, testPassword, "mailgun-secret", fmt.Sprintf("%x", testToken), fmt.Sprint([]byte(testToken))[1:20]} {
		if strings.Contains(text, secret) {
			t.Errorf("shows %s: %s", secret, text)
		}
	}
	if !strings.Contains(text, "kumomta-1 (kumomta)") {
		t.Errorf("shows no name: %s", text)
	}
}

// docs/intake.md lists every flag with its default, every result and nothing else.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/intake.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{} // first cell -> all cells
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|"); len(cells) > 1 {
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows[cells[0]] = cells
			if len(cells) == 3 { // an answer: status, result, when
				rows[cells[1]] = cells
			}
		}
	}
	c := DefaultConfig()
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	c.RegisterFlags(fs)
	flags := 0
	fs.VisitAll(func(f *flag.Flag) {
		flags++
		row := rows["-"+f.Name]
		_, usage := flag.UnquoteUsage(f)
		if len(row) != 4 || row[2] != f.DefValue || row[3] != usage {
			t.Errorf("-%s: %q, want default %s, %s", f.Name, row, f.DefValue, usage)
		}
	})
	for name := range rows {
		if strings.HasPrefix(name, "-intake.") {
			flags--
		}
	}
	if flags != 0 {
		t.Errorf("%d flags more than rows", flags)
	}
	for _, r := range []result{
		resultOK, resultRepeated, resultNotFound, resultMethod, resultUnauthorized, resultTooLarge, resultElement, resultEncoding, resultMalformed, resultEmpty,
		resultTimeout, resultAborted, resultBusy, resultCertificate, resultBroker, resultRecipient, resultForbidden, resultProtocol, resultVanished, resultIrregular,
		resultUnreadable, resultMove,
	} {
		if rows[string(r)] == nil {
			t.Errorf("result %s is not documented", r)
		}
	}
}
