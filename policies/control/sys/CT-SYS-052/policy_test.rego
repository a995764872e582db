package test.sys["CT-SYS-052"]

import data.control.sys["CT-SYS-052"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

loose(base, fact) := fixture.patch(base, {"sysctl": {"net.netfilter.nf_conntrack_tcp_loose": fact}})

strict(base) := loose(base, fixture.known("0"))

test_strict_and_exposed_fails if {
	r := judge(strict(fixture.docker))
	r.outcome == "fail"
	contains(r.message, "on ipv4 eth0 each")
}

test_be_liberal_does_not_help if judge(strict(fixture.liberal)).outcome == "fail"

test_protected_passes if judge(strict(fixture.guarded)).outcome == "pass"

test_no_snat_is_not_applicable if judge(strict(fixture.bare)).outcome == "not-applicable"

test_undecided_is_unknown if judge(strict(fixture.blind)).outcome == "unknown"

test_loose_passes if judge(fixture.docker).outcome == "pass"

test_absent_is_not_applicable if judge(loose(fixture.docker, fixture.absent(""))).outcome == "not-applicable"

test_unread_is_unknown if judge(loose(fixture.docker, fixture.unread)).outcome == "unknown"
