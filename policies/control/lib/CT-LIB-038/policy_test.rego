package test.lib["CT-LIB-038"]

import data.control.lib["CT-LIB-038"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

set(base, fact) := fixture.patch(base, {"sysctl": {"net.netfilter.nf_conntrack_tcp_ignore_invalid_rst": fact}})

test_exposed_fails if {
	r := judge(set(fixture.docker, fixture.known("1")))
	r.outcome == "fail"
	contains(r.message, "ipv4 eth0 is exposed")
}

test_protected_passes if judge(set(fixture.guarded, fixture.known("1"))).outcome == "pass"

test_off_is_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_absent_is_not_applicable if judge(set(fixture.docker, fixture.absent(""))).outcome == "not-applicable"

test_undecided_is_unknown if judge(set(fixture.blind, fixture.known("1"))).outcome == "unknown"

test_unread_is_unknown if judge(set(fixture.docker, fixture.unread)).outcome == "unknown"
