package test.rst["CT-RST-008"]

import data.control.rst["CT-RST-008"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

counting(sampled, invalid, resets) := {"conntrack": {
	"sampled": sampled,
	"intervalSeconds": 10,
	"deltas": {"value": {"invalid": invalid, "Tcp.OutRsts": resets}},
}}

test_both_now_is_high if {
	r := judge(fixture.patch(fixture.docker, counting(true, 4, 3)))
	r.outcome == "fail"
	r.severity == "high"
	contains(r.message, "4 INVALID packets came and 3 resets went out in 10 s")
}

test_many_since_boot_is_medium if {
	judge(fixture.patch(fixture.docker, counting(false, 90000, 3))).severity == "medium"
}

test_few_since_boot_is_low if {
	judge(fixture.patch(fixture.docker, counting(false, 5, 3))).severity == "low"
}

test_unknown_uptime_is_low if {
	node := fixture.patch(fixture.patch(fixture.docker, counting(false, 90000, 3)), {"kernel": {"uptimeSeconds": fixture.unread}})
	judge(node).severity == "low"
}

test_nothing_counted_passes if judge(fixture.docker).outcome == "pass"

test_resets_alone_pass if judge(fixture.patch(fixture.docker, counting(true, 0, 3))).outcome == "pass"

test_protected_is_not_applicable if {
	judge(fixture.patch(fixture.guarded, counting(true, 4, 3))).outcome == "not-applicable"
}

test_liberal_is_not_applicable if {
	judge(fixture.patch(fixture.liberal, counting(true, 4, 3))).outcome == "not-applicable"
}

test_undecided_is_unknown if {
	judge(fixture.patch(fixture.docker, {"exposure": [fixture.undecided]})).outcome == "unknown"
}

test_unread_counters_are_unknown if {
	judge(fixture.patch(fixture.docker, {"conntrack": {"deltas": fixture.unread}})).outcome == "unknown"
}

test_missing_counter_is_unknown if {
	node := json.remove(fixture.docker, ["/conntrack/deltas/value/invalid"])
	judge(node).outcome == "unknown"
}
