package server

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"sluice/ledger"

	"github.com/danielgtaylor/huma/v2"
)

func (s *Server) bookRoutes() {
	books := func() (Books, error) {
		if s.o.Books == nil {
			return nil, absent("books")
		}
		return s.o.Books, nil
	}

	huma.Register(s.api, operation("balance", "GET", "/ledger/balance", "books", "What each account holds",
		"Sorted by account; debits are positive, so that they all add up to zero in each commodity. In one page."),
		func(ctx context.Context, _ *struct{}) (*body[Page[ledger.Balance]], error) {
			b, err := books()
			if err != nil {
				return nil, err
			}
			bs, err := b.Balances(ctx)
			if err != nil {
				return nil, problem(err)
			}
			return pageOf(bs, len(bs), func(ledger.Balance) string { return "" }), nil
		})

	huma.Register(s.api, operation("entries", "GET", "/ledger/entries", "books", "The journal", "Entries of [from, to), in the journal's order."),
		func(ctx context.Context, in *struct {
			Paging
			From time.Time `query:"from" doc:"Start, site time"`
			To   time.Time `query:"to" doc:"End, site time"`
		},
		) (*body[Page[ledger.Entry]], error) {
			b, err := books()
			if err != nil {
				return nil, err
			}
			es, err := b.Entries(ctx, EntryFilter{From: in.From.UTC(), To: in.To.UTC(), After: in.After, Limit: in.Limit + 1})
			if err != nil {
				return nil, problem(err)
			}
			return pageOf(es, in.Limit, func(e ledger.Entry) string { return e.ID }), nil
		})

	export := operation("export", "GET", "/ledger/export", "books", "The whole journal for another program", "For hledger: `hledger -f - check` reads it.")
	export.Responses = streamDoc("text/plain; charset=utf-8", "The journal")
	huma.Register(s.api, export, func(_ context.Context, _ *struct {
		Format string `query:"format" enum:"hledger" default:"hledger" doc:"The other program's format"`
	},
	) (*huma.StreamResponse, error) {
		b, err := books()
		if err != nil {
			return nil, err
		}
		return s.streamed("text/plain; charset=utf-8", map[string]string{"Content-Disposition": `attachment; filename="sluice.journal"`},
			buffered(b.ExportHledger)), nil
	})

	backup := operation("backup", "POST", "/backup", "books", "Take a backup",
		"Answers with the copy itself: the state of the running site at one instant, for `sluice restore`.")
	backup.Responses = streamDoc("application/octet-stream", "The copy")
	huma.Register(s.api, backup, func(_ context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		if s.o.Backup == nil {
			return nil, absent("backup")
		}
		return s.streamed("application/octet-stream", map[string]string{"Content-Disposition": `attachment; filename="sluice.backup"`}, s.backup), nil
	})
}

// backup makes the copy in a folder of its own and sends it. The copy goes to
// the caller and not to a path of the caller's choice: that would let whoever
// reaches the API write files.
func (s *Server) backup(ctx context.Context, w io.Writer) error {
	dir := s.o.TempDir
	var err error
	if dir != "" {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		dir, err = os.MkdirTemp(dir, "backup-")
	}
	if err != nil {
		return newProblem(http.StatusServiceUnavailable, "making room for the backup: "+err.Error(), "look at the free space of the disk")
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "copy")
	if err := s.o.Backup(ctx, file); err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if t, ok := w.(*stream); ok {
		t.w.Header().Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{w}, f, make([]byte, 256<<10))
	return err
}
