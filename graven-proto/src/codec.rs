//! The codec of calls whose answers are decoded straight into the words of the model ([`crate::decode`]).

use crate::{decode, status, wire};
use bytes::{Buf, Bytes};
use graven_model::{FollowStep, Names, Page, Result};
use prost::Message;
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Encodes questions as prost does. Decodes answers out of the memory they arrived in, which their payloads go on to
/// share; names that repeat are shared by all answers of a call. What is malformed is a status with its error.
#[derive(Debug)]
pub struct Answers<Q, A> {
    decode: fn(&Bytes, &mut Names) -> Result<A>,
    question: PhantomData<fn(Q)>,
}

/// For `Read`.
#[must_use]
pub fn pages() -> Answers<wire::ReadRequest, Page> {
    Answers { decode: decode::page, question: PhantomData }
}

/// For `Subscribe`.
#[must_use]
pub fn steps() -> Answers<wire::SubscribeRequest, FollowStep> {
    Answers { decode: decode::step, question: PhantomData }
}

impl<Q: Message + 'static, A: Send + 'static> Codec for Answers<Q, A> {
    type Encode = Q;
    type Decode = A;
    type Encoder = Questions<Q>;
    type Decoder = Decoding<A>;

    fn encoder(&mut self) -> Questions<Q> {
        Questions(PhantomData)
    }

    fn decoder(&mut self) -> Decoding<A> {
        Decoding { decode: self.decode, names: Names::new() }
    }
}

/// See [`Answers`].
#[derive(Debug)]
pub struct Questions<Q>(PhantomData<fn(Q)>);

impl<Q: Message> Encoder for Questions<Q> {
    type Item = Q;
    type Error = Status;

    fn encode(&mut self, question: Q, out: &mut EncodeBuf<'_>) -> std::result::Result<(), Status> {
        question.encode(out).map_err(|error| Status::internal(error.to_string()))
    }
}

/// See [`Answers`].
#[derive(Debug)]
pub struct Decoding<A> {
    decode: fn(&Bytes, &mut Names) -> Result<A>,
    names: Names,
}

impl<A> Decoder for Decoding<A> {
    type Item = A;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> std::result::Result<Option<A>, Status> {
        let message = input.copy_to_bytes(input.remaining());
        (self.decode)(&message, &mut self.names).map(Some).map_err(|error| status::from_error(&error))
    }
}
