// Package xtables reads the iptables rule language: one line of iptables-save or ip6tables-save, of any version from
// 1.4.21 on and of both backends, into [netfilter.Ops].
//
// # What becomes of a rule
//
// A match that compares a field that [netfilter.Field] names becomes a [netfilter.Match]; conntrack and state become a
// [netfilter.XtState]. Every other match module becomes a [netfilter.Ext] with the module's name; Args are its options as
// iptables-save prints them ("--limit 5/min --limit-burst 10"), which is canonical because one program printed them.
// Ext.Invert is set only where the kernel computes "! X" as the exact opposite of X. Where it does not (mac, cgroup, osf
// answer false to both for some packets) the "!" stays in Args, so that X and "! X" are two unrelated predicates. A module
// whose options are independent conditions (physdev, owner, ah ...) yields one Ext for each.
//
// A value or option that is not known turns its whole module into an Ext and its target into a [netfilter.Stmt] named
// [Unparsed]; the rest of the rule stays precise.
//
// # Targets
//
// ACCEPT, DROP, RETURN, QUEUE, NFQUEUE, REJECT and user chains are verdicts. Targets that write a field of the packet are
// followed or replaced by an Assign; a value that only the running kernel knows comes from [Computed]. CONNMARK is always
// a Stmt "connmark": without a conntrack entry it has no effect and the rule goes on, unlike nft's "meta mark set ct mark".
// With an entry, --restore-mark writes the packet mark. All others are a Stmt under nft's name, or their own in lower case.
//
// # Sources
//
// Kernel semantics: net/netfilter/xt_*.c, net/ipv4/netfilter/ip_tables.c and net/ipv6/netfilter/ip6_tables.c, Linux 6.18.
// Printed forms: iptables 1.8.9 in tests, older and newer ones from its release history.
//
// Everything that the package returns shares memory (operands, constant steps, substrings of the text): read, never write.
package xtables
