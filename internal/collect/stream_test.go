package collect_test

import (
	"context"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// stream counts the bytes that it is given, and dislikes one of them.
type stream struct{ bytes int }

func (s *stream) Begin() { s.bytes = 0 }
func (s *stream) Piece(b []byte) {
	for _, c := range b {
		if c == '!' {
			panic("a byte that nobody expects")
		}
		s.bytes++
	}
}

// streamer is a collector with one streamed need.
type streamer struct{ part }

func (s streamer) Sinks() map[string]host.Sink {
	return map[string]host.Sink{rules().Key(): &stream{}}
}

func rules() host.Need { return host.Need{Kind: host.Netlink, Args: []string{host.DumpNFRules}} }

// streaming is a host that hands over pieces wherever it has a sink.
type streaming struct{ pieces []string }

func (h *streaming) Fetch(_ context.Context, req host.Request) (*host.Evidence, error) {
	a := &host.Answer{}
	if sink := req.Sinks[rules().Key()]; sink != nil {
		sink.Begin()
		sink.Piece([]byte("lost"))
		sink.Begin()
		for _, p := range h.pieces {
			sink.Piece([]byte(p))
		}
		a.Sink = sink
	} else {
		a.Data = []byte(strings.Join(h.pieces, ""))
	}
	return &host.Evidence{Answers: map[string]*host.Answer{rules().Key(): a}}, nil
}

func TestRunStreams(t *testing.T) {
	for name, tt := range map[string]struct {
		opts   collect.Options
		others []collect.Collector
		want   string
	}{
		"alone":          {want: "streamed 6"},
		"to be recorded": {opts: collect.Options{Keep: true}, want: "whole 6"},
		"asked by two":   {others: []collect.Collector{part{name: "kernel", needs: []host.Need{rules()}}}, want: "whole 6"},
	} {
		have := ""
		c := streamer{part{name: "nftables", needs: []host.Need{rules()}, collect: func(ev *host.Evidence, _ *snapshot.Document) []snapshot.Missing {
			a := ev.Answer(rules())
			if s, ok := a.Sink.(*stream); ok && a.Data == nil {
				have = "streamed " + string(rune('0'+s.bytes))
			} else {
				have = "whole " + string(rune('0'+len(a.Data)))
			}
			return nil
		}}}
		if _, _, err := collect.Run(t.Context(), &streaming{[]string{"abc", "def"}}, append(tt.others, c), tt.opts); err != nil || have != tt.want {
			t.Errorf("%s: %s, %v; want %s", name, have, err, tt.want)
		}
	}
}

func TestRunContainsPanicsOfSinks(t *testing.T) {
	c := streamer{part{name: "nftables", needs: []host.Need{rules()}, collect: func(*host.Evidence, *snapshot.Document) []snapshot.Missing {
		t.Error("collected from a broken sink")
		return nil
	}}}
	doc, _, err := collect.Run(t.Context(), &streaming{[]string{"abc", "!", "def"}}, []collect.Collector{c, part{name: "kernel"}}, collect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := doc.Collectors[0]
	if got.Status != snapshot.StatusUnreadable || len(got.Missing) != 1 || !strings.HasPrefix(got.Missing[0].Why, "internal error: a byte that nobody expects at stream_test.go:") {
		t.Errorf("account: %+v", got)
	}
}
