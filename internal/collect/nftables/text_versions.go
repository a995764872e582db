package nftables

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Which nft the text reader understands. What is printed comes from two sides, nft (the blocks' order and heads, the JSON) and
// libnftnl (what stands in a block), so they are told apart here.
//
// Held against netlink by random rulesets ("make nft-versions", nftversions.All): nft 0.9.8, 1.0.6, 1.1.3 and 1.1.7 with
// libnftnl 1.1.9, 1.2.4, 1.2.9 and 1.3.2, each nft with its own library and with the next one that it runs with. On a Linux much
// newer than itself nft 0.9.8 ends with a segmentation fault over verdict maps and catch-all elements: nothing is printed then.
//
// Not to be had there, and told from upstream's changes (the list of commits in each release's announcement; netlink.c and
// json.c of nft 1.0.2):
//
//   - Ubuntu 22.04, nft 1.0.2 with libnftnl 1.2.1. nft: rules, sets and elements are handed whole to libnftnl, as by 1.0.6,
//     and the JSON has the members of 1.0.6's, its mistake about a table's flags included. libnftnl: verdicts of elements are printed since 1.2.0 and 1.2.1 as by 1.2.4 (1.1.9 prints a number,
//     and such a map counts as incomplete), unused registers of masq and nat are left out since 1.2.0; 1.2.2 adds the reset of a
//     TCP option, 1.2.3 nothing, 1.2.4 prints user data otherwise, of which no more is read than that it is there. So each part
//     is printed as by 1.1.9 or as by 1.2.4.
//   - Ubuntu 24.04, nft 1.0.9 with libnftnl 1.2.6. libnftnl: 1.2.5 adds inner headers and 1.2.6 "meta broute", and both names are
//     unread; the rest is that of 1.2.4 and 1.2.9. nft: the JSON has the flag dynamic, like that of 1.1.3.
//   - nft 1.1.4 to 1.1.6: they run with libraries of either form of values, which checkForm tells apart. 1.3.1 is the last that
//     prints words (none of its commits is about printing), 1.3.2 came with nft 1.1.7.
//
// Whatever else one of them prints ends as unread, incomplete or missing: every word of a line has to be as expected.

// metainfo reads which nft wrote the list. A later one than was held against netlink may print something else.
func (r *textReader) metainfo(dec *jsontext.Decoder) error {
	var o struct {
		Version string `json:"version"`
	}
	if err := json.UnmarshalDecode(dec, &o); err != nil {
		return err
	}
	var major, minor, patch int
	n, _ := fmt.Sscanf(o.Version, "%d.%d.%d", &major, &minor, &patch)
	at := [3]int{major, minor, patch}
	if n < 2 || slices.Compare(at[:], lastKnown()) > 0 {
		return fmt.Errorf("written by nft %.20q, whose way to print expressions is not known", o.Version)
	}
	r.flagsHold = slices.Compare(at[:], []int{1, 1}) >= 0
	r.newer = slices.Compare(at[:], []int{1, 1, 7}) >= 0
	return nil
}

// lastKnown is the latest nft that was held against netlink.
func lastKnown() []int { return []int{1, 1, 7} }
