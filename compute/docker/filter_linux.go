package docker

import (
	"errors"
	"fmt"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"sluice"
)

// tableName is of our table in a container's namespace.
const tableName = "sluice"

// install puts the rules into the network namespace, all at once, in the place of
// those that were there. The library enters it on a thread of its own for as long
// as it takes to open a socket: that one is of the namespace for good.
func install(ns *os.File, rules []rule) error {
	fd := int(ns.Fd())
	if fd <= 0 { // which the library would take for our own namespace
		return errors.New("no namespace")
	}
	c, err := nftables.New(nftables.WithNetNSFd(fd))
	if err != nil {
		return err
	}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}
	c.AddTable(t)
	c.DelTable(t)
	c.AddTable(t)
	drop := nftables.ChainPolicyDrop
	out := c.AddChain(&nftables.Chain{
		Name: "out", Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput,
		Priority: nftables.ChainPriorityFilter, Policy: &drop,
	})
	accept := nftables.ChainPolicyAccept
	in := c.AddChain(&nftables.Chain{
		Name: "in", Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput,
		Priority: nftables.ChainPriorityFilter, Policy: &accept,
	})
	add := func(e ...expr.Any) { c.AddRule(&nftables.Rule{Table: t, Chain: out, Exprs: e}) }
	pass := &expr.Verdict{Kind: expr.VerdictAccept}
	// To itself, and IPv6's asking for neighbours, without which it has none.
	add(&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte("lo\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")}, pass)
	add(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal(unix.IPPROTO_ICMPV6),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: []byte{133}, ToData: []byte{136}}, pass)
	for _, r := range rules {
		if r.in {
			var do expr.Any = pass
			if !r.pass {
				do = &expr.Verdict{Kind: expr.VerdictDrop}
			}
			c.AddRule(&nftables.Rule{Table: t, Chain: in, Exprs: append(toNet(r), do)})
			continue
		}
		var do expr.Any = pass
		if !r.pass {
			do = refuse
		}
		if r.first == 0 {
			add(append(toNet(r), do)...)
			continue
		}
		for _, proto := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			e := append(toNet(r), &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal(proto),
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
				&expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: binaryutil.BigEndian.PutUint16(r.first), ToData: binaryutil.BigEndian.PutUint16(r.last)})
			add(append(e, do)...)
		}
	}
	add(refuse)
	if err := c.Flush(); err != nil {
		if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.ENOENT) {
			return &sluice.Error{Kind: sluice.Unavailable, Cause: err, Msg: "this kernel does not filter as it has to", Hint: "it needs nf_tables with nft_reject_inet: modprobe nft_reject_inet"}
		}
		return fmt.Errorf("nftables: %w", err)
	}
	return nil
}

// refuse answers at once that it is prohibited: a job need not wait to learn it.
var refuse = &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}

func equal(b byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{b}} }

// toNet matches what goes to the rule's addresses, or comes from them.
func toNet(r rule) []expr.Any {
	family, at, length := byte(unix.NFPROTO_IPV4), uint32(16), uint32(4)
	if r.to.Addr().Is6() {
		family, at, length = unix.NFPROTO_IPV6, 24, 16
	}
	if r.in {
		at -= length // the source is before the destination
	}
	out := []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal(family)}
	if r.to.Bits() == 0 {
		return out
	}
	mask := make([]byte, length)
	for i := range r.to.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return append(out,
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: at, Len: length},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: length, Mask: mask, Xor: make([]byte, length)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: r.to.Masked().Addr().AsSlice()})
}
