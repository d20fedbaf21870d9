"""The daemon of a cluster: it sends pilot jobs as long as there is work, and offers lost jobs again."""
