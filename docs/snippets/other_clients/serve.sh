megabar simulate d111 --seed 1 --json > addresses.json
