megabar check bench.toml --simulate
