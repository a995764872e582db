package proof

import (
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Real headers: 5.10 and 6.18 name the columns differently.
const (
	stat510 = "entries  clashres found new invalid ignore delete delete_list insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n" +
		"0000000b  00000000 00000000 00000000 0000001f 000003c1 00000000 00000000 00000000 00000000 00000000 00000000 00000000  00000000 00000000 00000000 00000000\n" +
		"0000000b  00000000 00000000 00000000 00000002 000003c1 00000000 00000000 00000000 00000000 00000000 00000000 00000000  00000000 00000000 00000000 00000000\n"
	stat618 = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n" +
		"0000000b  00000000 00000000 00000000 00000003 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000  00000000 00000000 00000000 00000000\n"
)

func TestParseInvalid(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       uint64
		fails      string
	}{
		{name: "two CPUs", text: stat510, want: 33},
		{name: "one CPU", text: stat618, want: 3},
		{name: "other place", text: "invalid entries\n10 1\n", want: 16},
		{name: "empty", fails: "empty"},
		{name: "no column", text: "entries found\n1 2\n", fails: `no column "invalid"`},
		{name: "short line", text: "entries invalid\n1\n", fails: "short line"},
		{name: "not a number", text: "invalid\nx\n", fails: "invalid syntax"},
	} {
		got, err := parseInvalid(strings.NewReader(tt.text))
		if got != tt.want || (err != nil) != (tt.fails != "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%s: %d, %v; want %d, %q", tt.name, got, err, tt.want, tt.fails)
		}
	}
}

func FuzzParseInvalid(f *testing.F) {
	f.Add(stat510)
	f.Add(stat618)
	f.Fuzz(func(_ *testing.T, text string) { parseInvalid(strings.NewReader(text)) })
}

func FuzzParseFrame(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00\x45\x00\x00\x28\x00\x00\x40\x00\x40\x06\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02\x00\x50\x1f\x90\x00\x00\x00\x01\x00\x00\x00\x02\x50\x10\x04\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, ok := parseFrame(gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.NoCopy))
		if ok && s.length < 0 {
			t.Errorf("length %d", s.length)
		}
		ipLength(data)
	})
}

func TestKernelFix(t *testing.T) {
	run := func(workaround, injection string, invalid int) Run {
		return Run{Workaround: workaround, Injection: injection, Invalid: invalid}
	}
	for want, runs := range map[string][]Run{
		"none":    {run(NoWorkaround, "far", 1), run(NoWorkaround, StaleAck, 1), run(NoWorkaround, "old", 0)},
		"partial": {run(NoWorkaround, StaleAck, 0), run(NoWorkaround, "far", 1), run(NoWorkaround, "old", 0)},
		"full":    {run(NoWorkaround, StaleAck, 0), run(NoWorkaround, OutsideRST, 1), run("INPUT", StaleAck, 1)},
		"unknown": {run("be_liberal", StaleAck, 0)},
	} {
		if got := kernelFix(runs); got != want {
			t.Errorf("kernel fix %s, want %s", got, want)
		}
	}
}
