#!/bin/sh
# The conformance suite of quantizers, run on this plugin.
set -e
cd "$(dirname "$0")"
qtk plugin check ./qtk-quantizer-@NAME@.so
