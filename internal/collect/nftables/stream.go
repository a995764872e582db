package nftables

import "github.com/ctaudit/ctaudit/internal/host"

// stream parses the dumps of one Fetch, each through a sink of its own, in the order of [dumps].
type stream struct {
	parser *parser
	sinks  map[string]*sink // by dump
}

// sink takes one dump.
type sink struct {
	stream *stream
	dump   string
	reader reader
}

func newStream() *stream {
	s := &stream{parser: newParser(), sinks: map[string]*sink{}}
	for _, d := range dumps() {
		s.sinks[d] = &sink{stream: s, dump: d}
	}
	return s
}

// Sinks lets the host hand over the dumps piece by piece: those of a hundred thousand rules are 40 to 90 MB.
func (collector) Sinks() map[string]host.Sink {
	out := map[string]host.Sink{}
	for d, s := range newStream().sinks {
		out[need(d).Key()] = s
	}
	return out
}

// Begin starts a dump; the first one starts the ruleset.
func (s *sink) Begin() {
	if s.dump == dumps()[0] {
		s.stream.parser = newParser()
	}
	s.stream.parser.begin(s.dump)
	s.reader = reader{}
}

// Piece parses the next messages.
func (s *sink) Piece(b []byte) {
	s.reader.b = b
	for {
		m, ok := s.reader.next()
		if !ok {
			return
		}
		if why := s.stream.parser.message(s.dump, m); why != "" {
			s.stream.parser.lack(s.dump, why, "")
		}
	}
}

// parse returns the ruleset of the evidence: what the sinks made of it while it was read, or what they make of it now.
func parse(ev *host.Evidence) *parser {
	s := streamOf(ev)
	for _, d := range dumps() {
		a := ev.Answer(need(d))
		if a.Sink == nil {
			s.sinks[d].Begin()
			s.sinks[d].Piece(a.Data)
		}
		s.parser.dump(d, a, &s.sinks[d].reader)
	}
	s.parser.finish()
	return s.parser
}

// streamOf returns the stream that the host handed dumps over to, or a new one.
func streamOf(ev *host.Evidence) *stream {
	for _, d := range dumps() {
		if s, ok := ev.Answer(need(d)).Sink.(*sink); ok {
			return s.stream
		}
	}
	return newStream()
}
