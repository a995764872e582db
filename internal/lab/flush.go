package lab

import (
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// FlushNFTables deletes every nf_tables table of the namespace, iptables-nft's included, as "nft flush ruleset" does: a
// NFT_MSG_DELTABLE of no family and no name, in a batch of its own. Source: net/netfilter/nf_tables_api.c, nft_flush().
func (n *Netns) FlushNFTables() error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: n.FD()})
	if err != nil {
		return fmt.Errorf("nfnetlink socket: %w", err)
	}
	defer conn.Close()
	const batch = uint16(unix.NFNL_SUBSYS_NFTABLES) // the resource id of the batch, in network order in the header
	flush := func(t netlink.HeaderType, flags netlink.HeaderFlags, resource uint16) netlink.Message {
		return netlink.Message{
			Header: netlink.Header{Type: t, Flags: netlink.Request | flags},
			Data:   []byte{unix.NFPROTO_UNSPEC, unix.NFNETLINK_V0, byte(resource >> 8), byte(resource)}, // struct nfgenmsg
		}
	}
	_, err = conn.SendMessages([]netlink.Message{
		flush(unix.NFNL_MSG_BATCH_BEGIN, 0, batch),
		flush(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE, netlink.Acknowledge, 0),
		flush(unix.NFNL_MSG_BATCH_END, 0, batch),
	})
	if err == nil {
		_, err = conn.Receive()
	}
	if err != nil {
		return fmt.Errorf("flush nf_tables: %w", err)
	}
	return nil
}
