import type { NextConfig } from "next";

const config: NextConfig = {
  poweredByHeader: false,
  // The directory of this file, not one above it that happens to have a lock file.
  turbopack: { root: import.meta.dirname },
};

export default config;
