# syntax=docker/dockerfile:1

# PostgreSQL's official image, with syncstate:
#
#	docker build --build-arg PG_MAJOR=17 -t syncstate .

ARG PG_MAJOR=17

FROM postgres:$PG_MAJOR
ARG PG_MAJOR

COPY . /tmp/syncstate

# One layer, so that what is only needed to build is not in the image.  locales is
# held, for its upgrade would make only the standard ones anew, without the image's.
RUN apt-get update && \
	apt-mark hold locales && \
	apt-get install -y --no-install-recommends build-essential libxxhash-dev postgresql-server-dev-$PG_MAJOR && \
	make -C /tmp/syncstate PG=$PG_MAJOR && \
	make -C /tmp/syncstate PG=$PG_MAJOR install && \
	mkdir /usr/share/doc/syncstate && \
	cp /tmp/syncstate/LICENSE /tmp/syncstate/README.md /usr/share/doc/syncstate && \
	rm -r /tmp/syncstate && \
	apt-get remove -y build-essential libxxhash-dev postgresql-server-dev-$PG_MAJOR && \
	apt-get autoremove -y && \
	apt-mark unhold locales && \
	rm -rf /var/lib/apt/lists/*
