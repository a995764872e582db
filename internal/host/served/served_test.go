package served_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/hosttest"
	"github.com/ctaudit/ctaudit/internal/host/served"
)

// wire is a host that asks another one through the protocol.
type wire struct{ h host.Host }

type duplex struct {
	io.Reader
	io.Writer
}

func (w wire) Fetch(ctx context.Context, req host.Request) (*host.Evidence, error) {
	nonce := rand.Text()
	ask, err := served.Request(req, nonce)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := served.Serve(ctx, w.h, "test", duplex{bytes.NewReader(ask), &out}); err != nil {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(out.Bytes(), []byte(served.Marker(nonce)))
	if !ok {
		return nil, errors.New("the answer does not begin with its marker")
	}
	return served.Read(ctx, bytes.NewReader(rest), req, 64<<20)
}

func TestConformance(t *testing.T) {
	hosttest.Run(t, func(_ *testing.T, node *hosttest.Node, _ []host.Need) host.Host {
		return wire{host.Local(host.LocalOptions{Namespace: node.Netns.Path()})}
	})
}

// files asks for two files of a folder.
func files(t *testing.T) host.Request {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte(strings.Repeat("text\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	return host.Request{Needs: []host.Need{{Kind: host.File, Args: []string{name}}, {Kind: host.File, Args: []string{name + "-absent"}}}}
}

func TestAnswerThatWasCutOrSpoiltIsRefused(t *testing.T) {
	req := files(t)
	ask, err := served.Request(req, "n")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := served.Serve(t.Context(), host.Local(host.LocalOptions{}), "test", duplex{bytes.NewReader(ask), &out}); err != nil {
		t.Fatal(err)
	}
	whole := bytes.TrimPrefix(out.Bytes(), []byte(served.Marker("n")))
	if _, err := served.Read(t.Context(), bytes.NewReader(whole), req, 1<<20); err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, err := served.Read(t.Context(), bytes.NewReader(whole[:n]), req, 1<<20); err == nil {
			t.Fatalf("%d of %d bytes pass for an answer", n, len(whole))
		}
		spoilt := bytes.Clone(whole)
		spoilt[n] ^= 0x40
		ev, err := served.Read(t.Context(), bytes.NewReader(spoilt), req, 1<<20)
		if err != nil {
			continue
		}
		// Header fields of gzip that say nothing about the content may change.
		if want, _ := served.Read(t.Context(), bytes.NewReader(whole), req, 1<<20); !cmp.Equal(want, ev) {
			t.Fatalf("with byte %d spoilt the answer is another", n)
		}
	}
	if _, err := served.Read(t.Context(), bytes.NewReader(append(whole, 0)), req, 1<<20); !errors.Is(err, served.ErrTrailing) {
		t.Errorf("have %v, want %v", err, served.ErrTrailing)
	}
	if _, err := served.Read(t.Context(), bytes.NewReader(whole), req, 1000); !errors.Is(err, served.ErrTooLong) {
		t.Errorf("have %v, want %v", err, served.ErrTooLong)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	for ask, want := range map[string]string{
		"":                           "read request: unexpected end",
		"{":                          "read request: unexpected end",
		`{"protocol":2}`:             "protocol 2, this ctaudit speaks 1",
		`{"protocol":1} x`:           "read request: invalid character",
		strings.Repeat(" ", 1<<20+1): "longer than",
	} {
		var out bytes.Buffer
		err := served.Serve(t.Context(), host.Local(host.LocalOptions{}), "test", duplex{strings.NewReader(ask), &out})
		if err == nil || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%.20q: have %v and %d bytes, want %q and none", ask, err, out.Len(), want)
		}
	}
}

// TestEveryNeedSurvives asks for all that an audit reads.
func TestEveryNeedSurvives(t *testing.T) {
	req := host.Request{Needs: collect.NeedsOf(registry.All())}
	ev, err := wire{host.Local(host.LocalOptions{})}.Fetch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if len(ev.Answers) != len(req.Needs) || ev.Tool != "test" {
		t.Errorf("%d answers of %q to %d needs", len(ev.Answers), ev.Tool, len(req.Needs))
	}
	for key, a := range ev.Answers {
		if a.Err == "not in the recording" {
			t.Errorf("%s was lost", key)
		}
	}
}

func TestCollectorOfAnUnknownMachine(t *testing.T) {
	if _, _, err := served.Collector("riscv64"); err == nil || !strings.Contains(err.Error(), "x86_64 and aarch64") {
		t.Errorf("have %v", err)
	}
}
