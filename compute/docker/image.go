package docker

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"sluice"
)

// image is what to know of an image.
type image struct {
	id  string
	env []string
}

// image finds the image by its name, and fetches it where that is allowed.
func (x *Executor) image(ctx context.Context, e *engine, name string) (image, error) {
	if name == "" {
		return image{}, sluice.Errorf(sluice.Invalid, "name one as image_id: docker:…, or set the host's image", "the task names no image and the host has none")
	}
	img, err := e.inspectImage(ctx, name)
	if err == nil || !errdefs.IsNotFound(err) {
		return img, e.failed(err)
	}
	if x.cfg.Pull != PullMissing {
		return image{}, sluice.Errorf(sluice.Invalid, "pull it there, or set the host's pull: missing", "the image %s is not on this host", name)
	}
	res, err := e.cli.ImagePull(ctx, name, client.ImagePullOptions{})
	if err == nil {
		err = res.Wait(ctx)
		_ = res.Close()
	}
	if err == nil {
		img, err = e.inspectImage(ctx, name)
	}
	if err != nil {
		if client.IsErrConnectionFailed(err) {
			return image{}, e.failed(err)
		}
		return image{}, sluice.Errorf(sluice.Invalid, "is the name right, and does the engine know how to log in?", "pull the image %s: %v", name, err)
	}
	return img, nil
}

func (e *engine) inspectImage(ctx context.Context, name string) (image, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	res, err := e.cli.ImageInspect(ctx, name)
	if err != nil {
		if !errdefs.IsNotFound(err) && strings.Contains(err.Error(), "no such image") {
			err = fmt.Errorf("%w: %v", errdefs.ErrNotFound, err) //nolint:errorlint // only its text is of use
		}
		return image{}, err
	}
	img := image{id: res.ID}
	if res.Config != nil {
		img.env = res.Config.Env
	}
	return img, nil
}
