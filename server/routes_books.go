package server

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

func (s *Server) bookRoutes() {
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
	dir, err := os.MkdirTemp(s.o.TempDir, "backup-")
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
