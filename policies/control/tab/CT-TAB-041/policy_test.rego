package test.tab["CT-TAB-041"]

import data.control.tab["CT-TAB-041"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

counted(sampled, drop, early) := fixture.patch(fixture.docker, {"conntrack": {
	"sampled": sampled,
	"intervalSeconds": 10,
	"deltas": {"value": {"drop": drop, "early_drop": early}},
}})

severity(node) := r if {
	r := fixture.severities(control.results) with input as node
}

test_now if severity(counted(true, 2, 3)) == {"counter drop": "high", "counter early_drop": "medium"}

test_since_boot if severity(counted(false, 2, 3)) == {"counter drop": "low", "counter early_drop": "low"}

test_one_of_them if of(counted(true, 0, 3)) == {"counter drop": "pass", "counter early_drop": "fail"}

test_none_passes if of(fixture.docker) == {"counter drop": "pass", "counter early_drop": "pass"}

test_no_fix_without_a_limit if {
	node := fixture.patch(counted(true, 1, 0), {"conntrack": {"max": fixture.unread}})
	rs := control.results with input as node
	some r in rs
	r.outcome == "fail"
	r.fix == ""
}

test_no_table_is_not_applicable if {
	judge(fixture.patch(fixture.docker, {"conntrack": {"max": fixture.absent(0)}})).outcome == "not-applicable"
}

test_missing_counter_is_unknown if {
	of(json.remove(fixture.docker, ["/conntrack/deltas/value/drop"]))["counter drop"] == "unknown"
}

test_unread_is_unknown if {
	of(fixture.patch(fixture.docker, {"conntrack": {"deltas": fixture.unread}}))["counter drop"] == "unknown"
}
