package docker_test

func serve(string, string) {}
