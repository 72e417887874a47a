package remote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/fabric"
	"sluice/fabric/tree"
)

// send makes the job's folders on the host like those here, by what has changed.
func (x *Executor) send(ctx context.Context, h handle) error {
	for _, f := range h.Folders {
		if err := x.sendFolder(ctx, h, f); err != nil {
			return err
		}
	}
	return nil
}

func (x *Executor) sendFolder(ctx context.Context, h handle, f fabric.Folder) error {
	path := f.Path
	if f.File != "" {
		path = path[:len(path)-len(f.File)]
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	want, err := tree.All(root)
	if err != nil {
		return err
	}
	if f.File != "" {
		want = only(want, f.File)
	}
	have, busy, err := x.list(ctx, h, f)
	if err != nil {
		return err
	}
	if busy {
		return nil // another node of the job runs there, in the same folder
	}
	plan := tree.Diff(want, have)
	if plan.Bytes > x.cfg.MaxReturn || strings.HasPrefix(f.Name, "work-") && sum(want) > max(compute.MaxWorkdir, x.cfg.MaxReturn) {
		return sluice.Errorf(sluice.Invalid, "", "the folder %s is too large to be sent: %d bytes", f.Path, plan.Bytes)
	}
	for at := 0; at < len(plan.Drop); at += dropAtOnce {
		o := fabric.TreeOrder{Job: h.Job, Folder: f.Name, Drop: plan.Drop[at:min(at+dropAtOnce, len(plan.Drop))]}
		if _, err := x.hub.Ask(ctx, h.Host, fabric.OpDrop, o, nil, nil); err != nil {
			return err
		}
	}
	return x.put(ctx, h, f, root, plan.Put)
}

const (
	dropAtOnce  = 50
	piecesAtOne = 500
	headRoom    = 300 << 10 // of the names of pieces in one message
)

func only(entries []tree.Entry, name string) []tree.Entry {
	for _, e := range entries {
		if e.Path == name {
			return []tree.Entry{e}
		}
	}
	return nil
}

func sum(entries []tree.Entry) int64 {
	var n int64
	for _, e := range entries {
		n += e.Size
	}
	return n
}

// put sends entries in messages as full as they may be.
func (x *Executor) put(ctx context.Context, h handle, f fabric.Folder, root *os.Root, entries []tree.Entry) error {
	var pieces []tree.Piece
	var data []byte
	head := 0
	flush := func() error {
		if len(pieces) == 0 {
			return nil
		}
		o := fabric.TreeOrder{Job: h.Job, Folder: f.Name, Pieces: pieces, Session: h.Run}
		_, err := x.hub.Ask(ctx, h.Host, fabric.OpWrite, o, data, nil)
		pieces, data, head = nil, nil, 0
		return err
	}
	for _, e := range entries {
		for at := int64(0); ; {
			room := int64(fabric.MaxData - len(data))
			if room <= 0 || len(pieces) >= piecesAtOne || head > headRoom {
				if err := flush(); err != nil {
					return err
				}
				continue
			}
			p := tree.Piece{Entry: e, From: at}
			if e.Kind == tree.File {
				got, b, err := tree.Read(root, []tree.Ask{{Path: e.Path, From: at, Len: min(room, e.Size-at)}}, room)
				if err != nil {
					return err
				}
				if got[0].Gone || got[0].Size != e.Size || got[0].Time != e.Time {
					return sluice.Errorf(sluice.Conflict, "", "%s changes while it is sent", e.Path)
				}
				p.Len, data = got[0].Len, append(data, b...)
			}
			pieces, at = append(pieces, p), at+p.Len
			head += len(e.Path) + len(e.Target) + 120
			if e.Kind != tree.File || at >= e.Size {
				break
			}
		}
	}
	return flush()
}

func (x *Executor) list(ctx context.Context, h handle, f fabric.Folder) ([]tree.Entry, bool, error) {
	var all []tree.Entry
	busy := false
	for after := ""; ; {
		var a fabric.TreeAnswer
		if _, err := x.hub.Ask(ctx, h.Host, fabric.OpList, fabric.TreeOrder{Job: h.Job, Folder: f.Name, After: after}, nil, &a); err != nil {
			return nil, false, err
		}
		for _, e := range a.Entries {
			if err := e.Check(); err != nil {
				return nil, false, err
			}
		}
		if all, busy = append(all, a.Entries...), busy || a.Busy; len(all) > tree.MaxFiles {
			return nil, false, sluice.Errorf(sluice.Invalid, "", "the folder %s has more than %d files", f.Path, tree.MaxFiles)
		}
		if !a.More || len(a.Entries) == 0 {
			return all, busy, nil
		}
		after = all[len(all)-1].Path
	}
}

// bringFolder makes a folder here like that on the host. While the run goes on
// nothing is dropped here, and what changes meanwhile is left for the next time.
func (x *Executor) bringFolder(ctx context.Context, h handle, f fabric.Folder, final bool) error {
	if err := os.MkdirAll(f.Path, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(f.Path)
	if err != nil {
		return err
	}
	defer root.Close()
	want, _, err := x.list(ctx, h, f)
	if err != nil {
		return err
	}
	have, err := tree.All(root)
	if err != nil {
		return err
	}
	plan := tree.Diff(want, have)
	if f.Shared {
		plan = tree.Merge(want, have)
	}
	if n := sum(want); n > x.cfg.MaxReturn {
		return sluice.Errorf(sluice.Invalid, "", "%d bytes in %s are more than may be brought back", n, f.Path)
	}
	if final {
		if err := tree.Drop(root, plan.Drop); err != nil {
			return err
		}
	}
	for at := 0; at < len(plan.Put); {
		n, err := x.get(ctx, h, f, root, plan.Put[at:])
		if err != nil {
			return err
		}
		at += n
	}
	return nil
}

// get brings the first entries: small ones together, a large file alone. It
// returns how many those were.
func (x *Executor) get(ctx context.Context, h handle, f fabric.Folder, root *os.Root, entries []tree.Entry) (int, error) {
	var asks []tree.Ask
	var bytes int64
	n := 0
	for _, e := range entries {
		if n >= piecesAtOne || bytes+e.Size > fabric.MaxData {
			break
		}
		if e.Kind == tree.File {
			asks, bytes = append(asks, tree.Ask{Path: e.Path, Len: e.Size}), bytes+e.Size
		}
		n++
	}
	if n == 0 {
		return 1, x.getLarge(ctx, h, f, root, entries[0])
	}
	var a fabric.TreeAnswer
	var data []byte
	if len(asks) > 0 {
		var err error
		if data, err = x.hub.Ask(ctx, h.Host, fabric.OpRead, fabric.TreeOrder{Job: h.Job, Folder: f.Name, Asks: asks}, nil, &a); err != nil {
			return 0, err
		}
		if len(a.Got) != len(asks) {
			return 0, sluice.Errorf(sluice.Unavailable, "", "the host answers what was not asked")
		}
	}
	k := 0
	for _, e := range entries[:n] {
		p := tree.Piece{Entry: e}
		var b []byte
		if e.Kind == tree.File {
			g := a.Got[k]
			k++
			if g.Len < 0 || g.Len > int64(len(data)) {
				return 0, sluice.Errorf(sluice.Unavailable, "", "the host's answer is cut short")
			}
			b, data = data[:g.Len], data[g.Len:]
			if g.Gone || g.Size != e.Size || g.Time != e.Time || g.Len != e.Size {
				continue // it changes: the next time brings it
			}
			p.Len = g.Len
		}
		if err := tree.Write(root, h.Run, []tree.Piece{p}, b); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (x *Executor) getLarge(ctx context.Context, h handle, f fabric.Folder, root *os.Root, e tree.Entry) error {
	for at := int64(0); at < e.Size; {
		var a fabric.TreeAnswer
		o := fabric.TreeOrder{Job: h.Job, Folder: f.Name, Asks: []tree.Ask{{Path: e.Path, From: at, Len: fabric.MaxData}}}
		data, err := x.hub.Ask(ctx, h.Host, fabric.OpRead, o, nil, &a)
		if err != nil {
			return err
		}
		if len(a.Got) != 1 || a.Got[0].Len != int64(len(data)) {
			return sluice.Errorf(sluice.Unavailable, "", "the host answers what was not asked")
		}
		if g := a.Got[0]; g.Gone || g.Size != e.Size || g.Time != e.Time || g.Len == 0 {
			return nil // it changes: the next time brings it
		}
		if err := tree.Write(root, h.Run, []tree.Piece{{Entry: e, From: at, Len: int64(len(data))}}, data); err != nil {
			return err
		}
		at += int64(len(data))
	}
	return nil
}

// bringCheckpoint brings a running job's checkpoints home.
func (r *run) bringCheckpoint() {
	for _, f := range r.Folders {
		if !strings.HasPrefix(f.Name, "checkpoint-") {
			continue
		}
		if err := r.x.bringFolder(r.x.ctx, r.handle, f, false); err != nil && r.x.ctx.Err() == nil {
			r.x.cfg.Log.Warn("a checkpoint could not be brought home; its host keeps it", "run", r.Run, "host", r.Host, "err", err)
			r.mu.Lock()
			r.saved = time.Time{} // again with the next heartbeat
			r.mu.Unlock()
		}
	}
}

// bringHome brings everything home when the run has ended. Where the host falls
// silent meanwhile it waits, as long as the run's lease allows.
func (r *run) bringHome() error {
	r.bringing.Lock()
	defer r.bringing.Unlock()
	var failed error
	for try := 0; ; try++ {
		failed = r.bringAll()
		if failed == nil || r.x.ctx.Err() != nil || r.x.hub.Over(r.Host, r.Epoch, r.Lease, r.Notice) {
			return failed
		}
		if k := sluice.KindOf(failed); k != sluice.Unavailable && try >= 5 {
			return failed // it will not get better
		}
		select {
		case <-r.x.ctx.Done():
			return failed
		case <-time.After(min(100*time.Millisecond<<min(try, 6), 5*time.Second)):
		}
	}
}

func (r *run) bringAll() error {
	ctx := r.x.ctx
	// The checkpoint first: it is what cannot be made again.
	for _, kind := range []string{"checkpoint-", ""} {
		for _, f := range r.Folders {
			if !f.Return || strings.HasPrefix(f.Name, "checkpoint-") != (kind != "") {
				continue
			}
			if err := r.x.bringFolder(ctx, r.handle, f, true); err != nil {
				return err
			}
		}
	}
	until := time.Now().Add(30 * time.Second)
	for {
		s, err := r.x.look(ctx, r.handle, fabric.LookOrder{Run: r.Run, Wait: 3 * time.Second, Not: fabric.Running, LogNot: true})
		if err != nil {
			return err
		}
		if s.LogDone || s.Phase == fabric.Unknown {
			return nil
		}
		if time.Now().After(until) {
			return errors.New("the end of its output does not come")
		}
	}
}

// Fetch brings what a run has changed in its folders home while it goes on, so
// that it can be downloaded.
func (x *Executor) Fetch(ctx context.Context, h compute.Handle) error {
	v, err := parseHandle(h)
	if err != nil {
		return err
	}
	r := x.attach(v)
	if r.over() {
		return nil
	}
	r.bringing.Lock()
	defer r.bringing.Unlock()
	for _, f := range v.Folders {
		if !f.Return {
			continue
		}
		if err := x.bringFolder(ctx, v, f, false); err != nil {
			return fmt.Errorf("fetch the files of %s: %w", v.Run, err)
		}
	}
	return nil
}
