package test.lib["CT-LIB-032"]

import data.control.lib["CT-LIB-032"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

partial := {"liberal": fixture.known(1), "kernel": {"fix": "partial"}}

test_protected_anyway_fails if {
	r := judge(fixture.patch(fixture.guarded, partial))
	r.outcome == "fail"
	r.fix == "sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=0"
}

test_only_guard_passes if judge(fixture.patch(fixture.docker, partial)).outcome == "pass"

test_old_kernel_passes if judge(fixture.patch(fixture.guarded, {"liberal": fixture.known(1)})).outcome == "pass"

test_strict_is_not_applicable if judge(fixture.guarded).outcome == "not-applicable"

test_no_flows_are_not_applicable if judge(fixture.patch(fixture.bare, partial)).outcome == "not-applicable"

test_undecided_is_unknown if judge(fixture.patch(fixture.blind, partial)).outcome == "unknown"

test_unread_be_liberal_is_unknown if judge(fixture.patch(fixture.guarded, {"liberal": fixture.unread})).outcome == "unknown"

# What a proof measured decides, whatever the version says.
measured(fix) := {"liberal": fixture.known(1), "kernel": {"fix": fix, "fixWhy": "measured by the proof on this kernel", "measured": true}}

test_measured_full_fails if {
	r := judge(fixture.patch(fixture.guarded, measured("full")))
	r.outcome == "fail"
	some e in r.evidence
	e.name == "kernel_fix full, measured"
}

test_measured_none_passes if judge(fixture.patch(fixture.guarded, measured("none"))).outcome == "pass"
