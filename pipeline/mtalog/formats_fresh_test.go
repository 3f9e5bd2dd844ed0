package mtalog

import (
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

// freshSamples are logs of other runs and other versions, with other scenarios than the samples (testdata/fresh/README.md).
func freshSamples() []sample {
	return []sample{
		{format: FormatExim, folder: "exim-4.98-all", files: []string{"mainlog.gz"}, messageID: true, silent: eximSilent, reply: replyFolded(`\n`), login: "tenant7 tenant8"},
		{format: FormatExim, folder: "exim-4.98-syslog", files: []string{"mail.log.gz"}, messageID: true, silent: eximSilent, reply: replyFolded(`\n`), login: "tenant7 tenant8"},
		{format: FormatSendmail, folder: "sendmail-8.17", files: []string{"mail.log.gz"}, messageID: true, silent: sendmailSilent, reply: firstLine, login: "tenant7 tenant8"},
		{format: FormatSendmail, folder: "sendmail-8.18-loglevel-14", files: []string{"mail.log.gz"}, messageID: true, silent: sendmailSilent, reply: firstLine, login: "tenant7 tenant8"},
		{format: FormatOpenSMTPD, folder: "opensmtpd-7.6", files: []string{"mail.log.gz"}, silent: opensmtpdSilent, reply: withoutCodes, login: "tenant7 tenant8"},
		{format: FormatHaraka, folder: "haraka-3.3-without-stamps", files: []string{"haraka.log.gz"}, messageID: true, silent: harakaSilent, reply: withoutCodes},
		{format: FormatHaraka, folder: "haraka-3.3-logfmt", files: []string{"haraka.log.gz"}, messageID: true, silent: harakaSilent, reply: withoutCodes},
		{format: FormatHaraka, folder: "haraka-3.1-json-split", files: []string{"haraka.log.gz"}, messageID: true, silent: harakaSilent, reply: withoutCodes},
	}
}

func TestFreshLogsAgainstSink(t *testing.T) {
	for _, s := range freshSamples() {
		for _, file := range s.files {
			for _, forced := range []Format{FormatAuto, s.format} {
				t.Run(s.folder+"/"+file+"/"+forced.String(), func(t *testing.T) {
					s.against(t, filepath.Dir(s.path(file)), file, forced)
				})
			}
		}
	}
}

// With facts for labels, too, the state of every format survives a split anywhere.
func TestFreshLogsSplitAndRestoredEqualNeverSplit(t *testing.T) {
	cfg := Config{MaxEntries: 12, MaxBytes: 16000, TTL: 20e9}
	for _, s := range freshSamples() {
		t.Run(s.folder, func(t *testing.T) {
			log := lines(readGzip(t, s.path(s.files[0])))
			rapid.Check(t, func(t *rapid.T) {
				var inputs []Input
				for range rapid.IntRange(1, 3).Draw(t, "windows") {
					from := rapid.IntRange(0, len(log)-1).Draw(t, "from")
					for _, line := range log[from:min(len(log), from+rapid.IntRange(1, 60).Draw(t, "lines"))] {
						if rapid.IntRange(0, 9).Draw(t, "lost") > 0 {
							inputs = append(inputs, Input{Line: line, Host: "carrier", Reference: s.reference()})
						}
					}
				}
				splitEqualsWhole(t, cfg, inputs)
			})
		})
	}
}
