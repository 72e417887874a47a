package compute

import "context"

// Vault keeps the secrets of jobs, encrypted at rest under a key of each job's own.
type Vault interface {
	// Seal keeps the secrets of a job durably. Once only for a job.
	Seal(ctx context.Context, job string, secrets map[string]string) error
	// Open returns them for a run; nil without an error where the job has none.
	Open(ctx context.Context, job string) (map[string]string, error)
	// Erase destroys the job's key, and with it what was sealed under it.
	Erase(ctx context.Context, job string) error
}
