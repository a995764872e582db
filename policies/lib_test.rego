package test.lib

import data.fixture
import data.lib.drops
import data.lib.fix
import data.lib.node
import data.lib.path
import data.lib.persisted
import data.lib.table
import data.lib.text

test_place_names_backend_family_table_chain if {
	text.place(fixture.accept) == "iptables-nft ip filter INPUT"
	text.place(fixture.nft("input", 1, "accept")) == "nftables inet firewall input"
}

test_rule_of_a_policy_without_kind_says_its_text if {
	text.rule(fixture.rule("INPUT", 0, "-P INPUT DROP")) == "the policy of iptables-nft ip filter INPUT (-P INPUT DROP)"
	text.rule_evidence(fixture.rule("INPUT", 0, "-P INPUT DROP"))[0].value == "-P INPUT DROP"
}

test_no_rule_is_no_evidence if text.rule_evidence(null) == []

test_lists_are_cut_at_five if {
	text.some_of([]) == ""
	text.some_of(["a", "b", "c", "d", "e"]) == "a, b, c, d, e"
	text.some_of(["a", "b", "c", "d", "e", "f"]) == "a, b, c, d, e and 1 more"
}

test_names_are_one_word_of_shell if {
	fix.quoted("filter_INPUT") == "filter_INPUT"
	fix.quoted("/etc/sysctl.d/a.conf") == "/etc/sysctl.d/a.conf"
	fix.quoted("a b") == "'a b'"
	fix.quoted("$(reboot)") == "'$(reboot)'"
	fix.quoted("a'; reboot; '") == `'a'\''; reboot; '\'''`
	fix.quoted("") == "''"
}

test_delete_speaks_the_rules_own_tool if {
	fix.delete(fixture.accept) == "iptables-nft -t filter -D INPUT 1"
	fix.delete(object.union(fixture.accept, {"backend": "iptables-legacy"})) == "iptables-legacy -t filter -D INPUT 1"
	fix.delete(fixture.rule6("INPUT", 4, "-j DROP")) == "ip6tables-nft -t filter -D INPUT 4"
	fix.delete(fixture.nft("input", 2, "drop")) == "nft delete rule inet firewall input handle 12"
}

test_delete_of_another_family_is_left_to_people if {
	fix.delete(object.union(fixture.accept, {"family": "arp"})) == ""
}

test_the_fix_follows_the_deciding_rule if {
	startswith(fix.drop_invalid("ip6", fixture.accept), "ip6tables -t mangle -I PREROUTING")
	startswith(fix.drop_invalid("ip6", fixture.nft("input", 2, "accept")), "nft add table ip6 ctaudit")
}

test_the_fix_follows_the_nat_rules_without_one if {
	native := [{"rule": fixture.nft("postrouting", 1, "masquerade")}]
	startswith(fix.drop_invalid("ip", null), "nft add table ip") with input as {"snat": {"ip": fixture.known(native)}}
	startswith(fix.drop_invalid("ip", null), "iptables -t mangle") with input as fixture.docker
	startswith(fix.drop_invalid("ip", null), "iptables -t mangle") with input as fixture.bare
}

test_never_in_raw if {
	every f in path.families {
		not contains(fix.iptables(f), "raw")
		contains(fix.nft(f), "priority -150")
	}
}

test_interface_patterns if {
	drops.matches("eth0", "eth0")
	drops.matches("eth+", "eth1")
	drops.matches("eth*", "eth1")
	drops.matches("+", "anything")
	not drops.matches("eth0", "eth01")
	not drops.matches("eth+", "wlan0")
}

test_a_drop_without_families_has_no_command if {
	d := fixture.patch(fixture.drop(fixture.accept, ["input"]), {"families": []})
	drops.remedy([d]) == ""
}

test_the_first_rule_leads if {
	rules := [fixture.rule("INPUT", 10, "b"), fixture.rule("INPUT", 9, "a")]
	drops.lead([fixture.drop(r, ["input"]) | some r in rules]).rule.number == 9
}

test_numbers_are_read_with_care if {
	keys := {"a": "5", "b": " -7 ", "c": "5 packets", "d": "9999999999999999999", "e": ""}
	sysctl := {k: fixture.known(v) | some k, v in keys}
	got := {k: n | some k, _ in keys; n := node.number(k)} with input as {"sysctl": sysctl}
	got == {"a": 5, "b": -7}
}

test_unread_numbers_are_none if {
	not node.numeric("a") with input as {"sysctl": {"a": object.union(fixture.unread, {"value": "5"})}}
}

test_hints_are_not_repeated if {
	gaps := [{"why": "a", "hint": "run as root"}, {"why": "b", "hint": "run as root"}, {"why": "c", "hint": ""}]
	node.why(gaps) == "a; b; and 1 more"
	node.why(array.slice(gaps, 0, 2)) == "a; b"
	node.hint(gaps) == "run as root"
	node.hint([{"why": "c", "hint": ""}]) == node.default_hint
}

test_values_compare_without_white_space if {
	persisted.normal(" 4096\t87380  6291456 ") == "4096 87380 6291456"
	not persisted.on({"value": " 0 "})
	persisted.on({"value": "1"})
}

test_usage_needs_both_numbers if {
	table.usage == 0.5 with input as {"conntrack": {"count": fixture.known(5), "max": fixture.known(10)}}
	not table.usage with input as {"conntrack": {"count": fixture.unread, "max": fixture.known(10)}}
	not table.usage with input as {"conntrack": {"count": fixture.known(5), "max": fixture.known(0)}}
}

# An exposed interface stands for its family, whatever the others are.
test_the_worst_interface_stands_for_the_services if {
	good := fixture.patch(fixture.protected, {"question": "B", "interface": "cni0"})
	bad := fixture.exposure("B", "ip", "cni1")
	unsure := fixture.patch(fixture.undecided, {"question": "B", "interface": "cni2"})
	path.services.ip.interface == "cni1" with input as fixture.patch(fixture.kubernetes, {"exposure": [good, bad, unsure]})
	path.services.ip.interface == "cni2" with input as fixture.patch(fixture.kubernetes, {"exposure": [good, unsure]})
	path.services.ip.interface == "cni0" with input as fixture.patch(fixture.kubernetes, {"exposure": [good]})
}
