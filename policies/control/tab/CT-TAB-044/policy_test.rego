package test.tab["CT-TAB-044"]

import data.control.tab["CT-TAB-044"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

sized(max_, buckets) := fixture.patch(fixture.docker, {"conntrack": {"max": max_, "buckets": buckets}})

k := fixture.known(1000)

test_ratios if {
	judge(sized(fixture.known(4000), k)).outcome == "pass"
	judge(sized(fixture.known(4001), k)).severity == "low"
	judge(sized(fixture.known(8001), k)).severity == "medium"
}

test_fix if judge(sized(fixture.known(9001), k)).fix == "sysctl -w net.netfilter.nf_conntrack_buckets=2251"

test_no_limit_passes if judge(sized(fixture.known(0), k)).outcome == "pass"

test_no_table_is_not_applicable if judge(sized(fixture.absent(0), k)).outcome == "not-applicable"

test_no_buckets_are_unknown if judge(sized(k, fixture.known(0))).outcome == "unknown"

test_unread_is_unknown if judge(sized(k, fixture.unread)).outcome == "unknown"
