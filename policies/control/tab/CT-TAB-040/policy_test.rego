package test.tab["CT-TAB-040"]

import data.control.tab["CT-TAB-040"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

filled(n) := fixture.patch(fixture.docker, {"conntrack": {"count": fixture.known(n), "max": fixture.known(1000)}})

test_thresholds if {
	judge(filled(699)).outcome == "pass"
	judge(filled(700)).severity == "low"
	judge(filled(850)).severity == "medium"
	judge(filled(950)).severity == "high"
}

test_message if judge(filled(850)).message == "The conntrack table is 85 % full (850 of 1000 entries)."

test_fix_keeps_the_ratio if {
	judge(filled(900)).fix == "sysctl -w net.netfilter.nf_conntrack_max=2000 net.netfilter.nf_conntrack_buckets=1000"
}

test_no_limit_is_not_applicable if {
	judge(fixture.patch(filled(5), {"conntrack": {"max": fixture.known(0)}})).outcome == "not-applicable"
}

test_no_table_is_not_applicable if {
	judge(fixture.patch(filled(5), {"conntrack": {"count": fixture.absent(0)}})).outcome == "not-applicable"
}

test_unread_is_unknown if judge(fixture.patch(filled(5), {"conntrack": {"max": fixture.unread}})).outcome == "unknown"
