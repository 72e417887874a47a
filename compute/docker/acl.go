package docker

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"sluice"
)

// gVisor opens a sandbox's folders as the user that its root is mapped to, so that
// one has to get to them. An entry in the parents' access control lists lets that
// user, and nobody else, pass through.

const aclAttr = "system.posix_acl_access"

// Tags of entries, and the permission to pass through.
const (
	aclOwner  = 0x01
	aclUser   = 0x02
	aclGroup  = 0x04
	aclMask   = 0x10
	aclOther  = 0x20
	aclPass   = 0x1
	aclNobody = 0xffffffff // id of entries that have none
)

type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// letThrough lets the user pass through all folders above path.
func letThrough(path string, user int) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode()&0o001 == 0 {
			if err := aclAllow(dir, info.Mode().Perm(), uint32(user)); err != nil { //nolint:gosec // a user id
				return sluice.Errorf(sluice.Unavailable, "chmod o+x "+dir, "user %d cannot pass through %s: %v", user, dir, err)
			}
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// aclAllow adds an entry for the user to the folder's list.
func aclAllow(dir string, mode os.FileMode, user uint32) error {
	buf := make([]byte, 64<<10)
	n, err := unix.Getxattr(dir, aclAttr, buf)
	if errors.Is(err, unix.ENODATA) {
		n, err = 0, nil
	}
	if err != nil {
		return err
	}
	list, err := parseACL(buf[:n])
	if err != nil {
		return err
	}
	if len(list) == 0 {
		list = []aclEntry{
			{aclOwner, uint16(mode >> 6 & 7), aclNobody}, {aclGroup, uint16(mode >> 3 & 7), aclNobody}, {aclOther, uint16(mode & 7), aclNobody},
		}
	}
	return unix.Setxattr(dir, aclAttr, formatACL(addUser(list, user)), 0)
}

// addUser returns the list with an entry that lets the user pass through, and
// that the mask does not take away.
func addUser(list []aclEntry, user uint32) []aclEntry {
	out := slices.Clone(list)
	mask, found := -1, false
	var group uint16
	for i := range out {
		switch e := &out[i]; {
		case e.tag == aclUser && e.id == user:
			e.perm |= aclPass
			found = true
		case e.tag == aclMask:
			mask = i
		case e.tag == aclGroup:
			group = e.perm
		}
	}
	if !found {
		out = append(out, aclEntry{aclUser, aclPass, user})
	}
	if mask >= 0 {
		out[mask].perm |= aclPass
	} else {
		out = append(out, aclEntry{aclMask, group | aclPass, aclNobody})
	}
	slices.SortFunc(out, func(a, b aclEntry) int { return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.id, b.id)) })
	return out
}

// parseACL reads the kernel's form: a version, then a tag, permissions and an id
// for each entry.
func parseACL(b []byte) ([]aclEntry, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < 4 || binary.LittleEndian.Uint32(b) != 2 || len(b)%8 != 4 {
		return nil, fmt.Errorf("an access control list of an unknown form")
	}
	var out []aclEntry
	for b = b[4:]; len(b) > 0; b = b[8:] {
		out = append(out, aclEntry{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])})
	}
	return out, nil
}

func formatACL(list []aclEntry) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range list {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}
