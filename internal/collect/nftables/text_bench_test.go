package nftables

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
)

// printedMany is what nft 1.0.6 prints of a chain of n rules.
func printedMany(n int) []byte {
	var debug, list bytes.Buffer
	list.WriteString(jsonStart + ` [{"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}}, ` +
		`{"table": {"family": "ip", "name": "t", "handle": 1}}, {"chain": {"family": "ip", "table": "t", "name": "c", "handle": 1, ` +
		`"type": "filter", "hook": "input", "prio": 0, "policy": "accept"}}`)
	for i := range n {
		handle := i + 2
		fmt.Fprintf(&debug, "ip t c %d %d\n  [ meta load iifname => reg 1 ]\n  [ cmp eq reg 1 0x30687465 0x00000000 0x00000000 0x00000000 ]\n"+
			"  [ payload load 4b @ network header + 12 => reg 1 ]\n  [ cmp eq reg 1 0x%08x ]\n  [ meta load l4proto => reg 1 ]\n  [ cmp eq reg 1 0x00000006 ]\n"+
			"  [ payload load 2b @ transport header + 2 => reg 1 ]\n  [ cmp eq reg 1 0x00005000 ]\n  [ counter pkts 0 bytes 0 ]\n  [ immediate reg 0 drop ]\n\n",
			handle, handle-1, i)
		fmt.Fprintf(&list, `, {"rule": {"family": "ip", "table": "t", "chain": "c", "handle": %d, "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, `+
			`"right": "eth0"}}, {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "10.%d.%d.%d"}}, {"match": {"op": "==", `+
			`"left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 80}}, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}]}}`,
			handle, i>>16&255, i>>8&255, i&255)
	}
	list.WriteString("]}\n")
	return append(debug.Bytes(), list.Bytes()...)
}

// BenchmarkText parses what a shell says. live-B/rule is what stays of it, the output itself aside.
func BenchmarkText(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			ev := printed(printedMany(n))
			b.SetBytes(int64(len(ev.Answers[rulesetNeed().Key()].Data)))
			var before, after runtime.MemStats
			for b.Loop() {
				runtime.GC()
				runtime.ReadMemStats(&before)
				p := parseText(ev)
				runtime.GC()
				runtime.ReadMemStats(&after)
				if len(p.tables[0].Chains[0].Rules) != n || len(p.missing) > 0 {
					b.Fatal(p.missing)
				}
				runtime.KeepAlive(p)
			}
			b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(n), "live-B/rule")
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rules/s")
		})
	}
}
