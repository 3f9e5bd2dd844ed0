package source

import (
	"carom.dev/carom/pipeline/feed"
	"carom.dev/carom/pipeline/mtalog"
)

// Line reads one line of a log: of a mail server, or one record of a feed that is shipped line by line. The bytes are not
// kept.
func (r *Reader) Line(in mtalog.Input, emit Emit) Fate {
	if in.Format == mtalog.FormatAuto && len(in.Line) > 0 {
		switch c := in.Line[0]; {
		case c == '{' || c == '[':
			if format, ok := feed.Detect(in.Line); ok {
				return r.feedLine(format, &in, emit)
			}
		case headerRow(in.Line) || (r.files.Hosts() > 0 && r.files.Expects(in.Host, in.Line)):
			return r.row(&in, emit)
		}
	}
	if in.Location == nil {
		in.Location = r.site.Location(in.Host)
	}
	res := r.lines.Line(in, emit)
	f := Fate{Kind: res.Kind, Reason: res.Reason.String(), Daemon: res.Daemon, Host: res.Host, At: res.At}
	if res.Format != mtalog.FormatAuto {
		f.Format = res.Format.String()
	}
	return f
}

// Record reads a line that is a record of a feed, or a part of one.
func (r *Reader) Record(format string, in mtalog.Input, emit Emit) Fate {
	if format == feed.PowerMTA {
		return r.row(&in, emit)
	}
	return r.feedLine(format, &in, emit)
}

// row reads a line of an accounting file.
func (r *Reader) row(in *mtalog.Input, emit Emit) Fate {
	r.begin(feed.PowerMTA, in.Host, "", emit, nil)
	res, err := r.files.Parse(in.Host, in.Line, r.take)
	r.settle(res, err)
	return r.fate
}

// feedLine reads a line that is one record of a feed.
func (r *Reader) feedLine(format string, in *mtalog.Input, emit Emit) Fate {
	r.begin(format, in.Host, "", emit, nil)
	res, err := r.feeds.Parse(format, in.Line, r.take)
	r.settle(res, err)
	return r.fate
}

// settle gives the line its one fate: what is unparsed outweighs all, an event all but that.
func (r *Reader) settle(res feed.Result, err error) {
	f := &r.fate
	switch {
	case err != nil:
		f.Kind, f.Reason = mtalog.KindUnparsed, reasonOf(err)
	case res.Faults > 0: // the reason is the first fault's
		f.Kind = mtalog.KindUnparsed
	case res.Events > 0:
		f.Kind, f.Reason = mtalog.KindEvent, ""
	default:
		f.Kind, f.Reason = mtalog.KindState, "open" // a part of a record
		for n, count := range res.Noise {
			if count > 0 {
				f.Kind, f.Reason = mtalog.KindNoise, feed.Noise(n).String()
				break
			}
		}
	}
}
