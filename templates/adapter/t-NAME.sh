#!/bin/sh
# The conformance suite of adapters, run on this plugin.
set -e
cd "$(dirname "$0")"
qtk plugin check ./qtk-adapter-@NAME@.so
