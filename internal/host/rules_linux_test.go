package host

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Kernels before 4.11 answer a request for one chain's rules with everybody's; that is noticed at the first message.
func TestRulesOfAnotherChain(t *testing.T) {
	message := func(family byte, table, chain string) []byte {
		body := appendAttribute(append([]byte{family, 0, 7, 7}, appendAttribute(nil, attrRuleTable, []byte(table+"\x00"))...), attrRuleChain, []byte(chain+"\x00"))
		return request{typ: nfType(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_NEWRULE), body: append(body, 8, 0, 3, 0, 1, 2, 3, 4)}.encode(1)
	}
	listed := appendAttribute(appendAttribute([]byte{2, 0, 9, 9}, attrChainTable, []byte("t\x00")), 2, []byte("12345678"))
	body, err := chainOf(appendAttribute(listed, attrChainName, []byte("c\x00")), nil)
	if err != nil {
		t.Fatal(err)
	}
	own := message(2, "t", "c")
	for name, tt := range map[string]struct {
		messages []byte
		want     bool
	}{
		"nothing":        {nil, true},
		"its own":        {append(own[:len(own):len(own)], own...), true},
		"another chain":  {append(own[:len(own):len(own)], message(2, "t", "d")...), false},
		"another table":  {message(2, "u", "c"), false},
		"another family": {message(10, "t", "c"), false},
		"a longer name":  {message(2, "t", "cc"), false},
		"no attributes":  {request{body: []byte{2, 0, 0, 0}}.encode(1), false},
	} {
		if have := expected(tt.messages, body); have != tt.want {
			t.Errorf("%s: %v", name, have)
		}
	}
	for _, bad := range [][]byte{nil, {2, 0}, listed, {2, 0, 0, 0, 1, 0, 1, 0}} {
		if body, err := chainOf(bad, nil); err == nil {
			t.Errorf("chain message %x makes request %x", bad, body)
		}
	}
}
