# METADATA
# title: An INVALID drop in a nat chain
# description: |
#   A rule that drops INVALID packets stands in a chain of type nat. Such chains see only the first packet of a tracked flow, never a
#   packet without a conntrack entry, so the rule is dead.
# related_resources:
#   - ref: https://wiki.nftables.org/wiki-nftables/index.php/Netfilter_hooks
#   - ref: https://ipset.netfilter.org/iptables-extensions.man.html
# custom:
#   severity: medium
#   remediation: |
#     Put the drop into mangle PREROUTING (native nft: a filter chain at prerouting priority -150) and delete it from nat.
package control.drop["CT-DROP-014"]

import data.lib.drops
import data.lib.text

dead := [d | some d in input.drops; in_nat(d)]

in_nat(d) if d.chainType == "nat"

# A table can have nat and filter chains at one hook; the evaluator tells them apart.
in_nat(d) if {
	some s in input.exposure[_].shadowed
	s.reason == "nat-chain"
	text.same(s.rule, d.rule)
}

results contains drops.clear("No INVALID drop stands in a nat chain.") if count(dead) == 0

results contains drops.weigh(place, ds, {
	"message": sprintf("%s never sees an INVALID packet: nat chains are passed by the first packet of a tracked flow alone.", [drops.named(ds)]),
	"severity": "medium",
	"evidence": drops.evidence(ds),
	"fix": drops.remedy(ds),
	"tidy": drops.delete(ds),
}) if {
	some place, ds in drops.by_place(dead)
}
